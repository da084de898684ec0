# shellcheck shell=bash
# Where PostgreSQL's server programs are, in $programs. For scripts that start one of their own.

# Debian keeps the server's programs off the PATH; the newest version is the last one.
find_postgres() {
    local initdb=(/usr/lib/postgresql/*/bin/initdb)
    programs=$(printf '%s\n' "${initdb[@]%/initdb}" | sort -V | tail -1)
    [ -x "$programs/initdb" ]
}

# Installs them if there are none.
need_postgres() { # the folder of scripts
    find_postgres || { "$1/install-packages" postgresql >&2 && find_postgres; }
}
