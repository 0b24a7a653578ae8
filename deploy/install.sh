#!/usr/bin/env bash
# Installs affect-edge on 64-bit Raspberry Pi OS 12 or 13 (also Debian 12 or 13), from this copy of the
# repository. Run again it upgrades; an upgrade that does not get ready, or that a power cut ends
# before it is ready, is undone. docs/install.md.
#
# Usage: sudo deploy/install.sh [OPTION...]            install or upgrade
#          --purpose research-consent|medical|safety   for a first configuration file
#          --role camera|logger|both                   daemon; log and operator's page; default: as
#                                                      it is installed, else camera
#          --wheels FOLDER                             from wheels in FOLDER, without a network
#          --appliance                                 the board may reboot itself
#          --no-start                                  start nothing, such as in an image of a card
#        sudo deploy/install.sh rollback               back to the release before
#        sudo deploy/install.sh uninstall              remove the program; configuration and data stay
#        install.sh undo                               what the system runs at its start, after a power
#                                                      cut in an upgrade
#        deploy/install.sh wheels FOLDER               fill FOLDER for machines with this release of
#                                                      the system, this architecture and no network
# pip reads its usual settings (PIP_INDEX_URL and so on).
# Exit: 0 done; 1 it failed, and release, units and services are as they were before (a first
# installation that does not get ready stays, for a look; after a line with the number of a line, such as
# on a full disk, they are so once it is run again); 78 an argument or the machine is wrong, and nothing
# was installed. Before either, what an upgrade that was cut off has left is undone.
[ -n "${BASH_VERSION:-}" ] || {
    echo "install.sh: needs bash: run it as it is, or by bash" >&2
    exit 78
}
set -Eeuo pipefail

say() { printf 'install.sh: %s\n' "$*"; }
wrong() { printf 'install.sh: %s\n' "$*" >&2; exit 78; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# stopped LINE CODE COMMAND: ends where a command fails that nothing else answers for
stopped() {
    [ "$BASH_SUBSHELL" = 0 ] || return 0 # what has started the subshell looks at its end
    local hint='put right what the lines above say, and run it again'
    [ ! -e "${trial-}" ] || hint="$hint: that, and a restart of the machine, first undo this upgrade"
    fail "line $1 failed (exit code $2): ${3%%$'\n'*}; $hint"
}
trap 'stopped "$LINENO" "$?" "$BASH_COMMAND"' ERR
trap 'fail "interrupted; run it again"' HUP INT TERM

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
base=/opt/affect-edge
link=$base/venv
releases=$base/releases
units=/etc/systemd/system
settings=/etc/affect-edge
config=$settings/edge.toml
watchdog=/etc/systemd/system.conf.d/affect-edge-watchdog.conf
# Exist while a new release is on trial: from before the switch until its services are ready.
trial=$base/trial
undo_unit=undo-affect-edge.service
alive=active,activating,reloading
needed_mb=900 # two releases of 330 MB for a moment, and pip's cache

# ---- arguments ------------------------------------------------------------------------------

action=install
case ${1-} in
install | rollback | undo | uninstall | wheels) action=$1; shift ;;
esac
purpose='' role='' wheels='' appliance='' start=yes
if [ "$action" = wheels ]; then
    [ $# = 1 ] || wrong "wheels: got $# arguments; expected one, the folder to fill"
    wheels=$1; shift
fi
while [ $# -gt 0 ]; do
    [ "$action" = install ] || [ "$1" = --no-start ] || wrong "$1: not an option of $action"
    case $1 in
    --purpose | --role | --wheels)
        [ $# -gt 1 ] || wrong "$1: expected a value behind it"
        printf -v "${1#--}" %s "$2"; shift ;;
    --appliance) appliance=yes ;;
    --no-start) start='' ;;
    *) wrong "$1: unknown; expected install, rollback, uninstall or wheels, and the options at the top of $0" ;;
    esac
    shift
done
case $purpose in '' | research-consent | medical | safety) ;;
*) wrong "--purpose $purpose: expected research-consent, medical or safety" ;; esac
case $role in '' | camera | logger | both) ;;
*) wrong "--role $role: expected camera, logger or both" ;; esac
[ "$action" != install ] || [ -z "$wheels" ] || [ -d "$wheels" ] ||
    wrong "--wheels $wheels: no such folder; make it with: deploy/install.sh wheels FOLDER"

# ---- the machine ----------------------------------------------------------------------------

[ "$(uname -s)" = Linux ] || wrong "this is $(uname -s); expected Linux"
[ -r /etc/os-release ] || wrong "no /etc/os-release; expected Raspberry Pi OS or Debian 12 or 13"
system=$(. /etc/os-release && echo "${ID-} ${VERSION_ID-}")
case $system in
'debian 12') python=3.11 ;;
'debian 13') python=3.13 ;;
*) wrong "this is '$system'; expected 64-bit Raspberry Pi OS or Debian, 12 or 13 (the 32-bit one says raspbian)" ;;
esac
case $(dpkg --print-architecture) in
arm64 | amd64) ;;
*) wrong "programs here are $(dpkg --print-architecture); expected a 64-bit system (arm64): write one to the card" ;;
esac

# extras ROLE: the extras of the package, as pip takes them
extras() {
    case $1 in
    camera) echo '[litert,picamera]' ;;
    logger) echo '[parquet,postgresql,dashboard]' ;;
    both) echo '[litert,picamera,parquet,postgresql,dashboard]' ;;
    esac
}

# pip prints pages; one line of it says what is wrong
pip_line() { grep -E '^(ERROR|error):?' "$1" | head -n 1 | cut -c 1-300 || true; }

if [ "$action" = wheels ]; then
    mkdir -p "$wheels" 2>/dev/null || wrong "wheels $wheels: cannot be made; expected a folder in which you may write"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    /usr/bin/python3 -m venv "$work/venv" >"$work/log" 2>&1 ||
        wrong "python3 cannot make an environment; run: sudo apt install python3-venv"
    "$work/venv/bin/pip" wheel --only-binary=:all: -w "$wheels" "$source$(extras both)" \
        >"$work/log" 2>&1 || fail "the wheels cannot be fetched: $(pip_line "$work/log")"
    say "$(find "$wheels" -name '*.whl' | wc -l) wheels in $wheels; on the other machine: sudo deploy/install.sh --wheels $wheels"
    exit 0
fi

[ "$(id -u)" = 0 ] || wrong "this user is not root; run it with sudo"
exec 9>/run/lock/affect-edge-install.lock
flock -n 9 || fail "another installation is running; wait for its end"
[ "$action" != undo ] || start='' # the system is starting: it starts the services itself
if [ -n "$start" ] && ! [ -d /run/systemd/system ]; then
    wrong "systemd does not run here; in an image use --no-start"
fi

# ---- releases -------------------------------------------------------------------------------

current() { readlink "$link" 2>/dev/null || true; }

# switch_to RELEASE: in one step; files of the release are on the disk before
switch_to() {
    sync -f "$base"
    ln -sfn "$1" "$link.new"
    mv -T "$link.new" "$link"
    sync -f "$base"
}

# remove_unit NAME: stops and disables it, a template's instances, too
remove_unit() {
    [ -z "$start" ] || systemctl stop "${1/@./@*.}" 2>/dev/null || true
    systemctl -q disable "$1" 2>/dev/null || true
    rm -f "$units/$1"
    case $1 in *@.service) rm -f "$units"/multi-user.target.wants/"${1%.service}"*.service ;; esac
}

# our_units: the installed ones that a release or this copy of the repository has; any other of such a
# name is the administrator's
our_units() {
    local unit
    for unit in "$units"/affect-edge*.service; do
        [ -e "$unit" ] || continue
        unit=${unit##*/}
        if [ -e "$source/systemd/$unit" ] || compgen -G "$releases/*/systemd/$unit" >/dev/null; then
            echo "$unit"
        fi
    done
}

# install_units RELEASE: those of its role; what the administrator added (drop-ins, units) stays
install_units() {
    local from=$1/systemd unit
    for unit in $(our_units); do
        [ -e "$from/$unit" ] || remove_unit "$unit"
    done
    install -m 644 -t "$units" "$from"/*.service
    install -D -m 644 "$from/tmpfiles.d/affect-edge.conf" /etc/tmpfiles.d/affect-edge.conf
    if [ -e "$units/affect-edge.service.d/reboot.conf" ]; then
        install -D -m 755 "$from/reboot-on-75" /usr/local/lib/affect-edge/reboot-on-75
    fi
    [ -z "$start" ] || systemctl daemon-reload
}

# services STATES: our services in these states, one a line
services() {
    [ -n "$start" ] || return 0
    systemctl list-units --plain --no-legend --state="$1" \
        'affect-edge.service' 'affect-edge@*.service' 'affect-edge-*.service' | awk '{ print $1 }'
}

# daemons: those that the system starts, without .service; where there is none yet, the single one
daemons() {
    local unit found=''
    for unit in "$units"/multi-user.target.wants/affect-edge{,@*}.service; do
        [ -L "$unit" ] || continue
        found=${unit##*/}
        echo "${found%.service}"
    done
    [ -n "$found" ] || echo affect-edge
}

# with_units SERVICE...: those of them whose unit is installed, one a line: a role may not have all
with_units() {
    local unit
    for unit in "$@"; do
        [ ! -e "$units/${unit/@*/@.service}" ] || echo "$unit"
    done
}

# enable_those_of NEW OLD: enables what the role of the release NEW starts, and adds it to `running`;
# not what OLD, a release or '', had: what an administrator has disabled since stays so
enable_those_of() {
    local unit own=(affect-edge-clock.service) role
    role=$(cat "$1/role" 2>/dev/null || echo camera)
    [ "$role" = logger ] || own+=(affect-edge.service)
    [ "$role" = camera ] || own+=(affect-edge-log.service affect-edge-dashboard.service)
    for unit in "${own[@]}"; do
        [ -z "$2" ] || [ ! -e "$2/systemd/$unit" ] || continue
        systemctl -q enable "$unit"
        running+=("$unit")
    done
    [ -n "$start" ] || running=()
    mapfile -t running < <(with_units "${running[@]}" | sort -u)
}

# ready SERVICE...: restarts them; prints the first that does not get ready
ready() {
    local service
    for service in "$@"; do
        systemctl reset-failed "$service" 2>/dev/null || true
        if ! systemctl restart "$service" 2>/dev/null || ! systemctl is-active --quiet "$service"; then
            echo "$service"
            return 1
        fi
    done
}

# last_line SERVICE: the last thing it logged
last_line() { journalctl -q -u "$1" -o cat --no-pager -n 50 2>/dev/null | grep -E '^affect-edge: ' | tail -n 1 || true; }

# begin_trial NEW BEFORE ENABLED...: what a power cut now leaves is undone at the next start. BEFORE
# is '' for an installation made by hand, ENABLED are the services that were enabled.
begin_trial() {
    rm -rf "$trial.new"
    mkdir -p "$trial.new" "$units/sysinit.target.wants"
    cp "$source/deploy/install.sh" "$trial.new/" # of this release: the one before may not know undo
    echo "$1" >"$trial.new/new"
    echo "$2" >"$trial.new/before"
    printf '%s\n' "${@:3}" >"$trial.new/enabled"
    sync -f "$base" # it must not appear with empty files
    mv -T "$trial.new" "$trial"
    cat >"$units/$undo_unit" <<UNIT
[Unit]
Description=Undo an upgrade of affect-edge that was cut off before it was ready
DefaultDependencies=no
RequiresMountsFor=$base $units /run/lock
After=local-fs.target systemd-tmpfiles-setup.service
Before=sysinit.target
ConditionPathExists=$trial/install.sh

[Service]
Type=oneshot
# the system waits for it; a disk that hangs must not hold up the rest of the start for ever
TimeoutStartSec=120
ExecStart=/bin/bash $trial/install.sh undo
UNIT
    ln -sfn "../$undo_unit" "$units/sysinit.target.wants/$undo_unit"
    sync -f "$units"
    sync -f "$base"
    # a lost terminal or Ctrl-C ends the wait for the services, and so this upgrade is undone
    trap : HUP INT TERM
}

# remove_trial: in one step, and then what is left of it, also of a removal that was cut off
remove_trial() {
    rm -rf "$trial.old"
    [ ! -e "$trial" ] || mv -T "$trial" "$trial.old"
    rm -f "$units/sysinit.target.wants/$undo_unit" "$units/$undo_unit"
    rm -rf "$trial.old" "$base/by-hand"
}

end_trial() {
    remove_trial
    sync -f "$units"
    sync -f "$base"
}

# go_back: undoes the release on trial; starts nothing, and keeps it for a look until the next run
go_back() {
    local new before unit enabled
    new=$(cat "$trial/new")
    before=$(cat "$trial/before")
    mapfile -t enabled < <(grep . "$trial/enabled")
    if [ -n "$before" ]; then
        switch_to "$before"
        install_units "$before"
    else
        [ ! -L "$link" ] || rm "$link"
        [ ! -d "$base/by-hand/venv" ] || mv "$base/by-hand/venv" "$link"
        for unit in "$new"/systemd/*.service; do
            [ -e "$base/by-hand/systemd/${unit##*/}" ] || remove_unit "${unit##*/}"
        done
        cp "$base"/by-hand/systemd/*.service "$units/" 2>/dev/null || true
        [ -z "$start" ] || systemctl daemon-reload
    fi
    [ ${#enabled[@]} = 0 ] || systemctl -q enable "${enabled[@]}"
    rm -f "$new/complete"
    end_trial
}

# name RELEASE: such as affect-edge 0.1.0; '' is one made by hand
name() { if [ -n "$1" ]; then cat "$1/version"; else echo "the installation made by hand"; fi; }

if [ "$action" = undo ]; then
    [ -e "$trial" ] || wrong "no upgrade was cut off: there is no $trial"
    new=$(cat "$trial/new") before=$(cat "$trial/before")
    why="the upgrade to $(name "$new") was cut off before it was ready"
    mapfile -t again < <(grep . "$trial/enabled")
    go_back
    if systemctl daemon-reload 2>/dev/null; then
        # a unit that the new release does not have is not in what the system is starting
        [ ${#again[@]} = 0 ] || systemctl start --no-block "${again[@]}" || true
    fi
    say "$why; $(name "$before") is installed again"
    exit 0
fi

if [ "$action" = rollback ]; then
    now=$(current)
    [ -n "$now" ] || wrong "nothing to go back from: $link was not made by this program"
    before=$(cat "$now/before" 2>/dev/null || true)
    [ -n "$before" ] && [ -e "$before/complete" ] || wrong "there is no release before $(cat "$now/version")"
    mapfile -t running < <(services "$alive")
    # the switch comes last: what is cut off before it can be run again
    install_units "$before"
    enable_those_of "$before" "$now"
    switch_to "$before"
    end_trial
    if failed=$(ready "${running[@]}"); then
        say "$(cat "$before/version") is installed again; $(cat "$now/version") is kept in $now"
        exit 0
    fi
    fail "$(cat "$before/version") is installed again, and $failed does not get ready: journalctl -u $failed"
fi

if [ "$action" = uninstall ]; then
    [ -e "$base" ] || [ -n "$(our_units)" ] || wrong "affect-edge is not installed"
    for unit in $(our_units); do remove_unit "$unit"; done
    rm -f "$units/affect-edge.service.d/reboot.conf" "$watchdog" /etc/tmpfiles.d/affect-edge.conf
    rmdir "$units/affect-edge.service.d" 2>/dev/null || true
    remove_trial
    rm -rf "$base" /usr/local/lib/affect-edge /var/log/affect-edge-install.log
    [ "$(readlink /usr/local/bin/affect-edge)" != "$link/bin/affect-edge" ] || rm /usr/local/bin/affect-edge
    [ -z "$start" ] || systemctl daemon-reload
    say "affect-edge is removed; to remove configuration, keys and data, too: sudo rm -rf $settings /var/lib/affect-edge* /var/lib/private/affect-edge*"
    exit 0
fi

# ---- install --------------------------------------------------------------------------------

started=$SECONDS
if [ -e "$trial" ]; then # the installer was killed in an upgrade, and the machine has run on
    go_back
    mapfile -t running < <(services "$alive")
    ready "${running[@]}" >/dev/null || true
fi
before=$(current)
if [ -z "$role" ]; then role=$(cat "$before/role" 2>/dev/null || echo camera); fi
lacks_config=''
if [ "$role" != logger ] && [ ! -e "$config" ] && daemons | grep -x affect-edge >/dev/null; then
    lacks_config=yes # instances have files of their own
fi
if [ -n "$lacks_config" ] && [ -z "$purpose" ]; then
    wrong "the purpose of the recordings has no default; add --purpose research-consent, medical or safety"
fi
if [ -n "$purpose" ] && [ -z "$lacks_config" ] && ! grep -Eqs "^ *purpose *= *\"$purpose\"" "$config"; then
    say "note: --purpose $purpose changes nothing: it is for a first configuration file; set device.purpose in $settings"
fi
free_mb=$(($(df --output=avail -k "$(dirname $base)" | tail -n 1) / 1024))
[ "$free_mb" -ge $needed_mb ] || wrong "$free_mb MB free for $base; expected $needed_mb MB: make room"

[ ! -e /usr/bin/python3 ] || # apt brings that of the system
    /usr/bin/python3 -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$python')" ||
    wrong "/usr/bin/python3 is another Python than $python; expected that of the system, for apt's picamera2"

# what is installed is known by what it is made of: the same again changes nothing
if [ -n "$wheels" ]; then
    ls "$wheels"/affect_edge-*.whl >/dev/null 2>&1 ||
        wrong "--wheels $wheels: no wheel of affect-edge in it; make it with: deploy/install.sh wheels FOLDER"
    made_of=$(cd "$wheels" && sha256sum ./*.whl)
else
    [ -e "$source/pyproject.toml" ] ||
        wrong "$source: no pyproject.toml in it; expected a whole copy of the repository, or --wheels FOLDER"
    made_of=$(cd "$source" && find edge exporters benchmarks models pyproject.toml -type f \
        ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum)
fi
made_of=$({ echo "$python $role $made_of"; cat "$source"/systemd/*.service; } | sha256sum | cut -d ' ' -f 1)

# installed PACKAGE
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing=''
installed python3-venv || missing=python3-venv
if [ "$role" != logger ] && ! installed python3-picamera2 &&
    # not grep -q: it ends at the first match, and apt-cache, still writing, would die of a broken pipe
    apt-cache policy python3-picamera2 2>/dev/null | grep -E 'Candidate: [0-9]' >/dev/null; then
    missing="$missing python3-picamera2"
fi
if [ -n "$missing" ]; then
    [ -z "$wheels" ] || wrong "apt's packages are missing:$(printf ' %s' $missing); install them before this machine goes off the network"
    # shellcheck disable=SC2086 # words
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null ||
        fail "apt cannot install $missing; run: sudo apt update"
fi
if [ "$role" != logger ] && ! installed python3-picamera2; then
    say "note: apt has no python3-picamera2 (this is not Raspberry Pi OS): USB and network cameras only"
fi

# releases of an installation that was cut off
if [ -d $releases ]; then
    for left in "$releases"/*; do
        [ -e "$left/complete" ] || [ ! -e "$left" ] || rm -rf "$left"
    done
fi

if [ -n "$before" ] && [ "$(cat "$before/made-of" 2>/dev/null)" = "$made_of" ]; then
    new=$before
    say "$(cat "$before/version") is installed already"
else
    mkdir -p $releases
    number=$(find $releases -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | tail -n 1)
    new=$releases/$((${number:-0} + 1))
    log=/var/log/affect-edge-install.log
    trap 'rm -rf "$new"' EXIT # until it is complete
    mkdir -p "$new"
    if ! /usr/bin/python3 -m venv --system-site-packages "$new" >"$log" 2>&1; then
        fail "python3 cannot make an environment in $new: $(tail -n 1 "$log")"
    fi
    from=(--prefer-binary "$source$(extras "$role")")
    [ -z "$wheels" ] || from=(--no-index --find-links "$wheels" "affect-edge$(extras "$role")")
    # a compiler on a Pi takes hours, where there is one at all
    if ! "$new/bin/pip" install --disable-pip-version-check --only-binary=:all: "${from[@]}" >"$log" 2>&1; then
        fail "pip: $(pip_line "$log") (all of it: $log)"
    fi
    cp -r "$source/systemd" "$new/systemd"
    [ "$role" != camera ] || rm "$new"/systemd/affect-edge-log.service "$new"/systemd/affect-edge-dashboard.service
    [ "$role" != logger ] || rm "$new"/systemd/affect-edge.service "$new"/systemd/affect-edge@.service
    "$new/bin/affect-edge" version >"$new/version" 2>"$log" || fail "affect-edge does not run: $(tail -n 1 "$log")"
    echo "$role" >"$new/role"
    echo "$made_of" >"$new/made-of"
fi

# ---- configuration: only what is missing ----------------------------------------------------

mkdir -p $settings
if [ -n "$lacks_config" ]; then
    name=$(hostname | tr 'A-Z_.' 'a-z--' | tr -cd 'a-z0-9-' | sed 's/^-*//' | cut -c 1-32)
    camera=picamera
    installed python3-picamera2 || camera=v4l2
    cat >"$config.new" <<TOML
# All other keys, with their defaults: edge.example.toml in this folder.
[device]
name = "${name:-edge}"
purpose = "$purpose"

[source]
kind = "$camera"
$([ "$camera" = picamera ] || echo 'path = "/dev/video0"')
TOML
    mv "$config.new" "$config"
fi
install -m 644 "$source/deploy/edge.example.toml" $settings/edge.example.toml

# A release that refuses a configuration changes nothing. Each is read as its service reads it, with
# what the unit and its drop-ins give; the measurements of this check are not kept.
if [ "$role" != logger ] && [ "$new" != "$before" ]; then
    cache=$(mktemp -d) refused=''
    for daemon in $(daemons); do
        file=$settings/${daemon#*@}.toml
        [ "$daemon" != affect-edge ] || file=$config
        XDG_CACHE_HOME=$cache AFFECT_EDGE__JOURNAL__PATH=$cache/journal "$new/bin/affect-edge" check \
            -c "$file" --unit "$new/systemd/$daemon" >"$new/check.txt" 2>&1 || refused=$file
        [ -z "$refused" ] || break
    done
    rm -rf "$cache"
    [ -z "$refused" ] ||
        fail "the new release refuses $refused: $(grep -m 1 WRONG "$new/check.txt" || tail -n 1 "$new/check.txt")"
fi

# ---- switch ---------------------------------------------------------------------------------

mapfile -t ran < <(services "$alive")
mapfile -t enabled_before < <(cd "$units/multi-user.target.wants" && ls -d affect-edge* 2>/dev/null)
mapfile -t given_up < <(services failed) # an upgrade may mend them; it is not undone on their account
if [ "$new" != "$before" ]; then
    by_hand=''
    if [ -d "$link" ] && [ ! -L "$link" ]; then
        # installed by hand (README before this program): a path inside it names itself, so it stays
        # usable only under its name, and is moved back where this upgrade is undone
        by_hand=yes
        rm -rf "$base/by-hand"
        mkdir -p "$base/by-hand/systemd"
        cp "$units"/affect-edge*.service "$base/by-hand/systemd/" 2>/dev/null || true
    fi
    echo "$before" >"$new/before"
    : >"$new/complete"
    trap - EXIT
    # without a start nothing can show that it gets ready, and a first release has none before it
    if [ -n "$start" ] && [ -n "$before$by_hand" ]; then begin_trial "$new" "$before" "${enabled_before[@]}"; fi
    [ -z "$by_hand" ] || mv "$link" "$base/by-hand/venv"
    switch_to "$new"
fi
install_units "$new"
systemd-tmpfiles --create /etc/tmpfiles.d/affect-edge.conf
ln -sfn "$link/bin/affect-edge" /usr/local/bin/affect-edge

running=("${ran[@]}")
enable_those_of "$new" "$before"

if [ "$new" != "$before" ] || [ -z "$before" ]; then
    if ! failed=$(ready "${running[@]}"); then
        if [ -n "$failed" ]; then
            why="$failed of $(cat "$new/version") does not get ready"
            last=$(last_line "$failed")
            [ -z "$last" ] || why="$why ($last)"
        else
            why="the wait for the services of $(cat "$new/version") was interrupted"
        fi
        [ -e "$trial" ] || fail "$why (journalctl -u $failed)"
        [ -n "$before" ] || mapfile -t ran < <(cd "$base/by-hand/systemd" && ls)
        go_back
        if again=$(ready "${ran[@]}"); then
            rm -rf "$new"
            fail "$why; $(name "$before") runs again"
        fi
        [ -n "$again" ] || fail "$why; $(name "$before") is installed again, and its start was interrupted, too: systemctl status 'affect-edge*'"
        fail "$why; $(name "$before") is installed again, and $again does not get ready either: journalctl -u $again"
    fi
    end_trial
    mapfile -t given_up < <(with_units "${given_up[@]}")
    for service in "${given_up[@]}"; do
        # it had failed before: the upgrade is good without it
        systemctl reset-failed "$service" || true
        systemctl start --no-block "$service" || true
    done
    # one release to go back to
    for old in "$releases"/*; do
        [ "$old" = "$new" ] || [ "$old" = "$before" ] || rm -rf "$old"
    done
fi
if [ -n "$appliance" ]; then
    install -D -m 755 "$new/systemd/reboot-on-75" /usr/local/lib/affect-edge/reboot-on-75
    install -D -m 644 "$new/systemd/affect-edge.service.d/reboot.conf" "$units/affect-edge.service.d/reboot.conf"
    install -D -m 644 "$new/systemd/system.conf.d/affect-edge-watchdog.conf" "$watchdog"
    [ -z "$start" ] || systemctl daemon-reload
fi

if [ ${#running[@]} -gt 0 ]; then
    say "$(cat "$new/version") is ready: ${running[*]} ($((SECONDS - started)) s)"
else
    say "$(cat "$new/version") is installed ($((SECONDS - started)) s)"
fi
