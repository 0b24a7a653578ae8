-- Tables and views of a log in PostgreSQL 13 or newer. `affect-edge log` runs this file where the
-- schema is missing; an administrator may run it first, and then grant only
--   USAGE on schema affect, SELECT, INSERT and UPDATE on its tables, TEMPORARY on the database.

CREATE SCHEMA IF NOT EXISTS affect;

CREATE TABLE affect.version (version integer NOT NULL);
INSERT INTO affect.version VALUES (1);

-- Frames and events as received. The three numbers of the primary key identify a message for ever,
-- so a message that arrives twice is stored once.
CREATE TABLE affect.message (
    stream text NOT NULL,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    device text NOT NULL,
    kind text NOT NULL,          -- frame, event
    event text,                  -- name of the event; null for a frame
    time timestamptz NOT NULL,   -- of the picture or event; unix_ns in the body is exact
    body json NOT NULL,          -- byte for byte as received
    PRIMARY KEY (stream, epoch, seq)
);
-- Messages arrive about in the order of their time, so this index of a few pages finds a time span.
CREATE INDEX message_time ON affect.message USING brin (time) WITH (pages_per_range = 32);
CREATE INDEX message_event ON affect.message (event, time) WHERE event IS NOT NULL;

-- Messages that no longer existed, or never arrived.
CREATE TABLE affect.gap (
    stream text NOT NULL,
    epoch bigint NOT NULL,
    first_missing bigint NOT NULL,
    last_missing bigint,         -- null where it is not known, as after a power cut
    reason text,                 -- one word of the daemon, such as trimmed
    device text NOT NULL,
    time timestamptz NOT NULL,   -- of the message that showed the gap
    PRIMARY KEY (stream, epoch, first_missing)
);

-- One row per stream: where its log stands, and the newest status of its device.
CREATE TABLE affect.device (
    stream text PRIMARY KEY,
    device text NOT NULL,
    epoch bigint NOT NULL,       -- the cursor: every message up to it is stored or in affect.gap
    seq bigint NOT NULL,
    time timestamptz NOT NULL,   -- of the newest message or status
    status json                  -- the newest status, as received
);

CREATE VIEW affect.frame AS
SELECT m.device, m.stream, m.epoch, m.seq, m.time,
    (m.body #>> '{time,unix_ns}')::bigint AS unix_ns,
    (m.body #>> '{time,sensor_ns}')::bigint AS sensor_ns,
    m.body #>> '{time,clock}' AS clock,
    (m.body #>> '{frame,index}')::bigint AS frame_index,
    (m.body #>> '{frame,dropped}')::bigint AS frames_dropped,
    (m.body #>> '{frame,width}')::integer AS frame_width,
    (m.body #>> '{frame,height}')::integer AS frame_height,
    m.body #>> '{frame,file}' AS file,
    json_array_length(m.body -> 'faces') AS faces,
    (m.body #>> '{timing_ms,total}')::float8 AS total_ms
FROM affect.message m
WHERE m.kind = 'frame';

-- One row per face and frame.
CREATE VIEW affect.face AS
SELECT m.device, m.stream, m.epoch, m.seq, m.time,
    (m.body #>> '{time,unix_ns}')::bigint AS unix_ns,
    (m.body #>> '{time,sensor_ns}')::bigint AS sensor_ns,
    (m.body #>> '{frame,index}')::bigint AS frame_index,
    m.body #>> '{frame,file}' AS file,
    (f.face ->> 'track')::bigint AS track,
    f.face ->> 'participant' AS participant,
    (f.face #>> '{box,0}')::float8 AS box_x,
    (f.face #>> '{box,1}')::float8 AS box_y,
    (f.face #>> '{box,2}')::float8 AS box_width,
    (f.face #>> '{box,3}')::float8 AS box_height,
    (f.face ->> 'score')::float8 AS detection_score,
    (f.face ->> 'age_s')::float8 AS track_age_s,
    (f.face #>> '{quality,usable}')::boolean AS quality_usable,
    (f.face #> '{quality,reasons}') AS reasons,
    (f.face #>> '{quality,size_px}')::float8 AS quality_size_px,
    (f.face #>> '{quality,sharpness}')::float8 AS quality_sharpness,
    (f.face #>> '{quality,brightness}')::float8 AS quality_brightness,
    (f.face #>> '{quality,saturated}')::float8 AS quality_saturated,
    (f.face #>> '{quality,yaw}')::float8 AS quality_yaw,
    f.face #>> '{expression,label}' AS label,
    f.face #>> '{expression,stable_label}' AS stable_label,
    (f.face #>> '{expression,probabilities,neutral}')::float8 AS p_neutral,
    (f.face #>> '{expression,probabilities,happy}')::float8 AS p_happy,
    (f.face #>> '{expression,probabilities,sad}')::float8 AS p_sad,
    (f.face #>> '{expression,probabilities,surprise}')::float8 AS p_surprise,
    (f.face #>> '{expression,probabilities,fear}')::float8 AS p_fear,
    (f.face #>> '{expression,probabilities,disgust}')::float8 AS p_disgust,
    (f.face #>> '{expression,probabilities,anger}')::float8 AS p_anger,
    (f.face #>> '{expression,probabilities,contempt}')::float8 AS p_contempt,
    (f.face #>> '{affect,valence}')::float8 AS valence,
    (f.face #>> '{affect,arousal}')::float8 AS arousal,
    (f.face #>> '{affect,smoothed,valence}')::float8 AS valence_smoothed,
    (f.face #>> '{affect,smoothed,arousal}')::float8 AS arousal_smoothed,
    (f.face #>> '{affect,relative,valence}')::float8 AS valence_relative,
    (f.face #>> '{affect,relative,arousal}')::float8 AS arousal_relative,
    f.face #>> '{affect,baseline}' AS baseline
FROM affect.message m
    CROSS JOIN LATERAL jsonb_array_elements((m.body -> 'faces')::jsonb) AS f (face)
WHERE m.kind = 'frame';

CREATE VIEW affect.event AS
SELECT m.device, m.stream, m.epoch, m.seq, m.time,
    (m.body #>> '{time,unix_ns}')::bigint AS unix_ns,
    m.event,
    m.body -> 'detail' AS detail
FROM affect.message m
WHERE m.kind = 'event';
