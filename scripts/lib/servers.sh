# Starting and stopping the programs of a demo; to be read by a script with `source`.
# It sets $logs (a folder for logs and pids) and $bin (the folder of the programs) first.

# Stops what `start` started, also in an earlier run.
stop() {
    [ -f "$logs/pids" ] || return 0
    local pids
    pids=$(cat "$logs/pids")
    rm -f "$logs/pids"
    # shellcheck disable=SC2086 # one word for each process
    kill $pids 2>/dev/null || true
    for pid in $pids; do
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    done
}

start() { # the URL that answers once it is ready, the program, its arguments
    local ready=$1 name=${3-$2}
    if curl --silent --output /dev/null "$ready"; then
        echo "something already answers at ${ready%/ready}: stop it first (scripts/demo --stop, if it is a demo)" >&2
        exit 1
    fi
    setsid "$bin/$2" "${@:3}" </dev/null >"$logs/$name.log" 2>&1 &
    local pid=$!
    echo "$pid" >>"$logs/pids"
    local deadline=$((SECONDS + 30))
    until curl --silent --fail --output /dev/null "$ready"; do
        if ! kill -0 "$pid" 2>/dev/null || [ $SECONDS -gt $deadline ]; then
            echo "$name did not start:" >&2
            cat "$logs/$name.log" >&2
            exit 1
        fi
        sleep 0.1
    done
    echo "  $name is up at ${ready%/ready}"
}
