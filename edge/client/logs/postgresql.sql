-- Tables and views of a log in PostgreSQL 13 or newer. `affect-edge log` runs this file where the
-- schema is missing; an administrator may run it first, and then grant only
--   USAGE on schema affect, SELECT, INSERT and UPDATE on its tables, TEMPORARY on the database.

CREATE SCHEMA IF NOT EXISTS affect;

CREATE TABLE affect.version (version integer NOT NULL);
INSERT INTO affect.version VALUES (1);

-- Frames and events as received. The three numbers of the primary key identify a message for ever,
-- so a message that arrives twice is stored once.
CREATE TABLE affect.messages (
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
CREATE INDEX messages_time ON affect.messages USING brin (time) WITH (pages_per_range = 32);
CREATE INDEX messages_event ON affect.messages (event, time) WHERE event IS NOT NULL;

-- Messages that no longer existed, or never arrived.
CREATE TABLE affect.gaps (
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
CREATE TABLE affect.devices (
    stream text PRIMARY KEY,
    device text NOT NULL,
    epoch bigint NOT NULL,       -- the cursor: every message up to it is stored or in affect.gaps
    seq bigint NOT NULL,
    time timestamptz NOT NULL,   -- of the newest message or status
    status json                  -- the newest status, as received
);

-- One row per frame.
CREATE VIEW affect.frames AS
SELECT
    m.device, m.stream, m.epoch, m.seq, m.time,
    (m.body #>> '{time,unix_ns}')::bigint AS unix_ns,
    (m.body #>> '{time,sensor_ns}')::bigint AS sensor_ns,
    (m.body #>> '{frame,index}')::bigint AS frame_index,
    m.body #>> '{frame,file}' AS file,
    (m.body #>> '{frame,page}')::integer AS page,
    json_array_length(m.body -> 'faces') AS faces,
    m.body #>> '{time,clock}' AS clock,
    (m.body #>> '{time,exposure_us}')::bigint AS exposure_us,
    (m.body #>> '{time,published_ns}')::bigint AS published_ns,
    (m.body #>> '{time,synchronized}')::boolean AS synchronized,
    (m.body #>> '{time,max_error_us}')::bigint AS max_error_us,
    (m.body #>> '{frame,width}')::integer AS frame_width,
    (m.body #>> '{frame,height}')::integer AS frame_height,
    (m.body #>> '{frame,dropped}')::bigint AS frames_dropped,
    (m.body #>> '{timing_ms,capture}')::float8 AS capture_ms,
    (m.body #>> '{timing_ms,detect}')::float8 AS detect_ms,
    (m.body #>> '{timing_ms,track}')::float8 AS track_ms,
    (m.body #>> '{timing_ms,translate}')::float8 AS translate_ms,
    (m.body #>> '{timing_ms,classify}')::float8 AS classify_ms,
    coalesce((m.body #>> '{timing_ms,mesh}')::float8, 0) AS mesh_ms,
    (m.body #>> '{timing_ms,total}')::float8 AS total_ms
FROM affect.messages m
WHERE m.kind = 'frame';

-- One row per face and frame; a frame without faces has one row with empty columns.
CREATE VIEW affect.faces AS
SELECT
    m.device, m.stream, m.epoch, m.seq, m.time,
    (m.body #>> '{time,unix_ns}')::bigint AS unix_ns,
    (m.body #>> '{time,sensor_ns}')::bigint AS sensor_ns,
    (m.body #>> '{frame,index}')::bigint AS frame_index,
    (f.face #>> '{track}')::bigint AS track,
    f.face #>> '{participant}' AS participant,
    f.face #>> '{seat}' AS seat,
    m.body #>> '{frame,file}' AS file,
    (m.body #>> '{frame,page}')::integer AS page,
    json_array_length(m.body -> 'faces') AS faces,
    (f.face #>> '{box,0}')::float8 AS box_x,
    (f.face #>> '{box,1}')::float8 AS box_y,
    (f.face #>> '{box,2}')::float8 AS box_width,
    (f.face #>> '{box,3}')::float8 AS box_height,
    (f.face #>> '{landmarks,0,0}')::float8 AS eye_left_x,
    (f.face #>> '{landmarks,0,1}')::float8 AS eye_left_y,
    (f.face #>> '{landmarks,1,0}')::float8 AS eye_right_x,
    (f.face #>> '{landmarks,1,1}')::float8 AS eye_right_y,
    (f.face #>> '{landmarks,2,0}')::float8 AS nose_x,
    (f.face #>> '{landmarks,2,1}')::float8 AS nose_y,
    (f.face #>> '{landmarks,3,0}')::float8 AS mouth_left_x,
    (f.face #>> '{landmarks,3,1}')::float8 AS mouth_left_y,
    (f.face #>> '{landmarks,4,0}')::float8 AS mouth_right_x,
    (f.face #>> '{landmarks,4,1}')::float8 AS mouth_right_y,
    (f.face #>> '{score}')::float8 AS detection_score,
    -- messages of earlier versions have faces of full frames alone
    CASE WHEN f.face IS NOT NULL THEN coalesce(f.face #>> '{found}', 'full') END AS found,
    (f.face #>> '{age_s}')::float8 AS track_age_s,
    (f.face #>> '{quality,usable}')::boolean AS quality_usable,
    (f.face #>> '{quality,size_px}')::float8 AS quality_size_px,
    (f.face #>> '{quality,sharpness}')::float8 AS quality_sharpness,
    (f.face #>> '{quality,brightness}')::float8 AS quality_brightness,
    (f.face #>> '{quality,saturated}')::float8 AS quality_saturated,
    (f.face #>> '{quality,yaw}')::float8 AS quality_yaw,
    array_to_string(
        ARRAY(SELECT jsonb_array_elements_text(f.face #> '{quality,reasons}')), '|'
    ) AS reasons,
    f.face #>> '{expression,label}' AS label,
    f.face #>> '{expression,stable_label}' AS stable_label,
    -- messages of earlier versions have readings of their own picture alone
    CASE WHEN f.face #>> '{expression,label}' IS NOT NULL
        THEN coalesce((f.face #>> '{expression,age_s}')::float8, 0) END AS reading_age_s,
    -- messages of earlier versions have expressions of the network alone
    CASE WHEN f.face #>> '{expression,label}' IS NOT NULL
        THEN coalesce(f.face #>> '{expression,head}', 'network') END AS expression_head,
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
    f.face #>> '{affect,baseline}' AS baseline,
    -- messages of earlier versions have values of the network alone
    CASE WHEN f.face #>> '{affect,valence}' IS NOT NULL
        THEN coalesce(f.face #>> '{affect,source}', 'network') END AS affect_source,
    (f.face #>> '{mesh,pose,yaw}')::float8 AS mesh_yaw,
    (f.face #>> '{mesh,pose,pitch}')::float8 AS mesh_pitch,
    (f.face #>> '{mesh,pose,roll}')::float8 AS mesh_roll,
    (f.face #>> '{mesh,eyes,left}')::float8 AS mesh_left_eye,
    (f.face #>> '{mesh,eyes,right}')::float8 AS mesh_right_eye,
    (f.face #>> '{mesh,mouth}')::float8 AS mesh_mouth,
    (f.face #>> '{mesh,lids,perclos}')::float8 AS perclos,
    nullif(f.face #>> '{mesh,lids,perclos_reason}', '') AS perclos_reason,
    (f.face #>> '{mesh,lids,blinks_per_min}')::float8 AS blinks_per_min,
    nullif(f.face #>> '{mesh,lids,blinks_reason}', '') AS blinks_reason,
    m.body #>> '{time,clock}' AS clock,
    (m.body #>> '{time,exposure_us}')::bigint AS exposure_us,
    (m.body #>> '{time,published_ns}')::bigint AS published_ns,
    (m.body #>> '{time,synchronized}')::boolean AS synchronized,
    (m.body #>> '{time,max_error_us}')::bigint AS max_error_us,
    (m.body #>> '{frame,width}')::integer AS frame_width,
    (m.body #>> '{frame,height}')::integer AS frame_height,
    (m.body #>> '{frame,dropped}')::bigint AS frames_dropped,
    (m.body #>> '{timing_ms,capture}')::float8 AS capture_ms,
    (m.body #>> '{timing_ms,detect}')::float8 AS detect_ms,
    (m.body #>> '{timing_ms,track}')::float8 AS track_ms,
    (m.body #>> '{timing_ms,translate}')::float8 AS translate_ms,
    (m.body #>> '{timing_ms,classify}')::float8 AS classify_ms,
    coalesce((m.body #>> '{timing_ms,mesh}')::float8, 0) AS mesh_ms,
    (m.body #>> '{timing_ms,total}')::float8 AS total_ms
FROM affect.messages m
    LEFT JOIN LATERAL jsonb_array_elements((m.body -> 'faces')::jsonb) AS f (face) ON true
WHERE m.kind = 'frame';

CREATE VIEW affect.events AS
SELECT
    m.device, m.stream, m.epoch, m.seq, m.time,
    (m.body #>> '{time,unix_ns}')::bigint AS unix_ns,
    (m.body #>> '{time,monotonic_ns}')::bigint AS monotonic_ns,
    m.event,
    m.body -> 'detail' AS detail
FROM affect.messages m
WHERE m.kind = 'event';
