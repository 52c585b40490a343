# start NAME: one daemon of this node, in the background, its words in a log and its exit code in a file. What it is
# stands in /etc/testbed/daemons/NAME, an argument a line. It tells when it is ready by sd_notify(3).
start() {
    name=$1
    set --
    while IFS= read -r argument; do
        set -- "$@" "$argument"
    done < "/etc/testbed/daemons/$name"
    # Twice in the background, so that its parent is the container's init, which reaps it; and with no hold on whoever
    # reads what this script says.
    (
        {
            code=0
            NOTIFY_SOCKET="/run/testbed/$name.ready" "$@" > "/var/log/testbed/$name.out" 2>&1 < /dev/null || code=$?
            echo "$code" > "/run/testbed/$name.exit"
        } > /dev/null 2>&1 < /dev/null &
    )
}
