# The demo of the service mesh, for scripts/demo: three services, and the nine arrows between them.

mesh_demo() {
    local -A at=([m1]=http://localhost:8001 [m2]=http://localhost:8002 [m3]=http://localhost:8003)
    local allowed=" m1-m1 m1-m2 m2-m1 m2-m2 m3-m1 "
    local from to status expected row reasons=() surprises=()

    echo "Starting:"
    start http://localhost:3001/ready auth-provider
    for from in m1 m2 m3; do
        start "${at[$from]}/ready" microservice "$from"
    done

    printf '\nEach is asked to call each, as in\n  curl %s/query --json '\''{"target": "m2"}'\''\n\n' "${at[m1]}"
    printf '            m1   m2   m3\n'
    for from in m1 m2 m3; do
        row="  $from calls "
        for to in m1 m2 m3; do
            status=$(curl --silent --max-time 10 --output "$logs/body" --write-out '%{http_code}' \
                --header 'Content-Type: application/json' --data "{\"target\": \"$to\"}" "${at[$from]}/query" || true)
            if [ "$status" = 200 ]; then
                row+=" ✓   "
                reasons+=("✓ $from → $to  $(explanation "$from" "$to")")
            else
                row+=" ✗   "
                reasons+=("✗ $from → $to  HTTP $status: $(explanation "$from" "$to")")
            fi
            case $allowed in *" $from-$to "*) expected=200 ;; *) expected=401 ;; esac
            if [ "$status" != $expected ]; then
                surprises+=("$from → $to should have been HTTP $expected: look into $logs/")
            fi
        done
        echo "$row"
    done
    printf '\n'
    printf '  %s\n' "${reasons[@]}"
    if [ ${#surprises[@]} -gt 0 ]; then
        printf '%s\n' "${surprises[@]}" >&2
        exit 1
    fi
    printf '\nOne program, three names: who may call whom is in demo/policy.toml, and nowhere else.\n'
}

# Why the provider gives a token or none: its sentence, without the verdict before it and the grant below it.
explanation() { # client, resource
    ("$bin/auth-provider" explain --client "$1" --resource "$2" --scope hello || [ $? = 4 ]) | sed -n '1s/^[^:]*: //p'
}
