# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_bridgectl_global_optspecs
    string join \n json h/help V/version
end

function __fish_bridgectl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_bridgectl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_bridgectl_using_subcommand
    set -l cmd (__fish_bridgectl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c bridgectl -n "__fish_bridgectl_needs_command" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -s V -l version -d 'Print version'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "status" -d 'Every process and every stream at a glance'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "journal" -d 'What happened: faults, what was done about them, how long it took'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "events" -d 'What happened: faults, what was done about them, how long it took'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "why" -d 'How something is, and if not well, why, in one sentence'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "restart" -d 'Stop a process and start it again, even a parked one'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "reload" -d 'Read the configuration again: streams come, change and go, and nobody who watches another notices'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "pause" -d 'Stop a stream for all its viewers, who keep their sessions, until it is resumed'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "resume" -d 'End a stream\'s pause, or start at once a process that is parked or waits'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "quality" -d 'Show or change how a stream is encoded'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "snapshot" -d 'Save a stream\'s latest picture'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "clip" -d 'Save a piece of a stream as MP4'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "share" -d 'Make a public address at the studio, and print it'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "unshare" -d 'End all public addresses that `share` made'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "token" -d 'Who may ask: make, list and revoke tokens'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "link" -d 'Make a link that lets in whoever opens it first, and print it'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "viewers" -d 'Who watches'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "kick" -d 'Send a viewer, a publisher or a push away'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "certificate" -d 'Certificates for HTTPS'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "jobs" -d 'What the studio has asked for'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "bridge" -d 'Steer the session with the studio'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "doctor" -d 'Look for what keeps Framebridge from working on this machine'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "hooks" -d 'Who is told what happens: show them, or try them'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "config" -d 'Check or print the configuration'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "setup" -d 'Ask what to show to whom, write the configuration, start Framebridge, and print the address to open'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "stream" -d 'The streams of the configuration: add, remove, list'
complete -c bridgectl -n "__fish_bridgectl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand status" -l watch -d 'Stay, and show it anew every second; Ctrl-C ends it'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand status" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand status" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand journal" -s n -l lines -d 'Only the last so many events' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand journal" -l since -d 'Only events since then: a span like 10m or 2h, or a time in UTC like "2026-11-23 06:40"' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand journal" -l stream -d 'Only events of this stream and its encoder' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand journal" -s f -l follow -d 'Stay, and show further events as they happen; Ctrl-C ends it'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand journal" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand journal" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand events" -s n -l lines -d 'Only the last so many events' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand events" -l since -d 'Only events since then: a span like 10m or 2h, or a time in UTC like "2026-11-23 06:40"' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand events" -l stream -d 'Only events of this stream and its encoder' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand events" -s f -l follow -d 'Stay, and show further events as they happen; Ctrl-C ends it'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand events" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand events" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand why" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand why" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand restart" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand restart" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand reload" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand reload" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand pause" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand pause" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand resume" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand resume" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand quality" -l fps -d 'Frames per second, 1 to 60' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand quality" -l bitrate -d 'Bits per second, 100k to 50M; `k` is a thousand, `M` a million' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand quality" -l size -d 'Longest edge of the picture in pixels, 64 to 4096' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand quality" -l reset -d 'Take back what was set: the stream is encoded as it is configured'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand quality" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand quality" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand snapshot" -s o -l output -d 'Where to save it: a name that ends in .jpg, .jpeg or .png; - is stdout, which gets a JPEG' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand snapshot" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand snapshot" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand clip" -l last -d 'What has been, e.g. 10s, as far as it was kept' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand clip" -l next -d 'What comes, e.g. 10s' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand clip" -s o -l output -d 'Where to save it: a name that ends in .mp4; - is stdout' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand clip" -l allow-short -d 'Exit with 0 also where less was kept than asked for'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand clip" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand clip" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand share" -l expires -d 'End it after this long, e.g. 90s, 30m, 1h, 7d' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand share" -l control -d 'Let its holder change things, too'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand share" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand share" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand unshare" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand unshare" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "new" -d 'Make a token and print it: it is shown this once'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "list" -d 'Show all tokens: what they are called and what they open'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "revoke" -d 'End a token, and within two seconds what it has opened'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from new" -l scope -d 'view, control, publish or admin; control includes view, and admin all' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from new" -l stream -d 'Only this stream; repeatable' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from new" -l expires -d 'End it after this long, e.g. 12h, 30d' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from new" -l config -d 'Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from new" -l file -d 'The file of tokens, instead of `http.auth.tokens`' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from new" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from list" -l config -d 'Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from list" -l file -d 'The file of tokens, instead of `http.auth.tokens`' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from list" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l file -d 'The file of tokens, instead of `http.auth.tokens`' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from revoke" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "new" -d 'Make a token and print it: it is shown this once'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show all tokens: what they are called and what they open'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'End a token, and within two seconds what it has opened'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand link" -l stream -d 'Only this stream' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand link" -l expires -d 'Out again after this long, e.g. 90m, 12h (the default), 30d at most' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand link" -l at -d 'How the other reaches this machine, e.g. https://live.example; without it, by its address' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand link" -l control -d 'Let its holder change things, too'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand link" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand link" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand viewers" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand viewers" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand kick" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand kick" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and not __fish_seen_subcommand_from self-signed help" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and not __fish_seen_subcommand_from self-signed help" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and not __fish_seen_subcommand_from self-signed help" -f -a "self-signed" -d 'Make one for this machine\'s names and addresses, signed by itself'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and not __fish_seen_subcommand_from self-signed help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and __fish_seen_subcommand_from self-signed" -l out -d 'Where to put tls.crt and tls.key' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and __fish_seen_subcommand_from self-signed" -l name -d 'A further name or address; repeatable' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and __fish_seen_subcommand_from self-signed" -l expires -d 'How long it is to hold' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and __fish_seen_subcommand_from self-signed" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and __fish_seen_subcommand_from self-signed" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and __fish_seen_subcommand_from help" -f -a "self-signed" -d 'Make one for this machine\'s names and addresses, signed by itself'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand certificate; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand jobs" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand jobs" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and not __fish_seen_subcommand_from pause resume reconnect address help" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and not __fish_seen_subcommand_from pause resume reconnect address help" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and not __fish_seen_subcommand_from pause resume reconnect address help" -f -a "pause" -d 'Take no jobs for now'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and not __fish_seen_subcommand_from pause resume reconnect address help" -f -a "resume" -d 'Take jobs again'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and not __fish_seen_subcommand_from pause resume reconnect address help" -f -a "reconnect" -d 'Leave the studio and connect anew'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and not __fish_seen_subcommand_from pause resume reconnect address help" -f -a "address" -d 'Print the box\'s own public address: whoever has it sees everything, for as long as the studio\'s token lives'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and not __fish_seen_subcommand_from pause resume reconnect address help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from pause" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from pause" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from resume" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from reconnect" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from reconnect" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from address" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from address" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from help" -f -a "pause" -d 'Take no jobs for now'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from help" -f -a "resume" -d 'Take jobs again'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from help" -f -a "reconnect" -d 'Leave the studio and connect anew'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from help" -f -a "address" -d 'Print the box\'s own public address: whoever has it sees everything, for as long as the studio\'s token lives'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand bridge; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand doctor" -l config -d 'Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml, then built-in' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand doctor" -l stream -d 'A stream to serve, instead of or beside those of the file; repeatable' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand doctor" -l streams-file -d 'What `--stream` would say, one a line: everybody on a machine reads arguments, and this file only we do' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand doctor" -l settings -d 'What the supervisor has written for this process, which then reads no configuration itself' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand doctor" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and not __fish_seen_subcommand_from list test help" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and not __fish_seen_subcommand_from list test help" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and not __fish_seen_subcommand_from list test help" -f -a "list" -d 'Show the hooks, what waits for them, and what failed last'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and not __fish_seen_subcommand_from list test help" -f -a "test" -d 'Tell a hook, or all of them, of a test, and show what comes of it'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and not __fish_seen_subcommand_from list test help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and __fish_seen_subcommand_from list" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and __fish_seen_subcommand_from test" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and __fish_seen_subcommand_from test" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the hooks, what waits for them, and what failed last'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and __fish_seen_subcommand_from help" -f -a "test" -d 'Tell a hook, or all of them, of a test, and show what comes of it'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand hooks; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and not __fish_seen_subcommand_from check print help" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and not __fish_seen_subcommand_from check print help" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and not __fish_seen_subcommand_from check print help" -f -a "check" -d 'Say whether it is valid, and if not which key on which line is wrong'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and not __fish_seen_subcommand_from check print help" -f -a "print" -d 'Print what is in force: file, environment and defaults together, secrets masked'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and not __fish_seen_subcommand_from check print help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml, then built-in' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from check" -l stream -d 'A stream to serve, instead of or beside those of the file; repeatable' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from check" -l streams-file -d 'What `--stream` would say, one a line: everybody on a machine reads arguments, and this file only we do' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from check" -l settings -d 'What the supervisor has written for this process, which then reads no configuration itself' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from check" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from print" -l config -d 'Configuration file; without it $FRAMEBRIDGE_CONFIG, then /etc/framebridge/framebridge.toml, then built-in' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from print" -l stream -d 'A stream to serve, instead of or beside those of the file; repeatable' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from print" -l streams-file -d 'What `--stream` would say, one a line: everybody on a machine reads arguments, and this file only we do' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from print" -l settings -d 'What the supervisor has written for this process, which then reads no configuration itself' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from print" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from print" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Say whether it is valid, and if not which key on which line is wrong'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "print" -d 'Print what is in force: file, environment and defaults together, secrets masked'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l stream -d 'A stream to show; repeatable. Without one, the first camera or display that is found, else a test pattern' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l discover -d 'Look for cameras (ONVIF) there: an interface like eth0, or addresses like 192.168.1.0/24; repeatable. Those that answer are offered, and with --yes each of them is added' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l login -d 'A file with user:password for these cameras; - reads it from standard input' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l who -d 'Who may watch' -r -f -a "this-machine\t'People at this machine'
token\t'People in the network who have a token or a link'
anyone\t'Everybody who reaches this machine, and they may change everything'"
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l tls -d 'How HTTP is protected, where others may watch' -r -f -a "self-signed\t'By a certificate that is made for this machine, and that nobody vouches for'
off\t'Not here: in a network that is trusted, or behind a proxy'"
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l studio -d 'A studio that gives this box a public address' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l studio-token-file -d 'The file with this box\'s token there, of mode 640 or stricter' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l config -d 'The file to write; without it that of the Framebridge that runs, else the usual one' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l start -d 'Start it now and at each boot, by systemd'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -s y -l yes -d 'Ask nothing: what is not said is as safe as can be'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and not __fish_seen_subcommand_from add remove list help" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and not __fish_seen_subcommand_from add remove list help" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and not __fish_seen_subcommand_from add remove list help" -f -a "add" -d 'Add one to the configuration, and start it where Framebridge runs'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and not __fish_seen_subcommand_from add remove list help" -f -a "remove" -d 'Take one out of the configuration; its viewers are sent away'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and not __fish_seen_subcommand_from add remove list help" -f -a "list" -d 'Show those of the configuration, each with its source'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and not __fish_seen_subcommand_from add remove list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from add" -l title -d 'What viewers are shown in place of the name' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from add" -l fps -d 'Frames per second, 1 to 60' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from add" -l bitrate -d 'Bits per second, 100k to 50M' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from add" -l size -d 'Longest edge of the picture in pixels, 64 to 4096' -r
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from add" -l config -d 'The configuration file; without it that of the Framebridge that runs, else the usual one' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from add" -l always -d 'Keep its source open also while nobody watches'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from add" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file; without it that of the Framebridge that runs, else the usual one' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from remove" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from list" -l config -d 'The configuration file; without it that of the Framebridge that runs, else the usual one' -r -F
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from list" -l json -d 'For scripts: one line of JSON instead of text'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add one to the configuration, and start it where Framebridge runs'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Take one out of the configuration; its viewers are sent away'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show those of the configuration, each with its source'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand stream; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "status" -d 'Every process and every stream at a glance'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "journal" -d 'What happened: faults, what was done about them, how long it took'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "why" -d 'How something is, and if not well, why, in one sentence'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "restart" -d 'Stop a process and start it again, even a parked one'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "reload" -d 'Read the configuration again: streams come, change and go, and nobody who watches another notices'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "pause" -d 'Stop a stream for all its viewers, who keep their sessions, until it is resumed'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "resume" -d 'End a stream\'s pause, or start at once a process that is parked or waits'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "quality" -d 'Show or change how a stream is encoded'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "snapshot" -d 'Save a stream\'s latest picture'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "clip" -d 'Save a piece of a stream as MP4'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "share" -d 'Make a public address at the studio, and print it'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "unshare" -d 'End all public addresses that `share` made'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "token" -d 'Who may ask: make, list and revoke tokens'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "link" -d 'Make a link that lets in whoever opens it first, and print it'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "viewers" -d 'Who watches'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "kick" -d 'Send a viewer, a publisher or a push away'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "certificate" -d 'Certificates for HTTPS'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "jobs" -d 'What the studio has asked for'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "bridge" -d 'Steer the session with the studio'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "doctor" -d 'Look for what keeps Framebridge from working on this machine'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "hooks" -d 'Who is told what happens: show them, or try them'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "config" -d 'Check or print the configuration'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "setup" -d 'Ask what to show to whom, write the configuration, start Framebridge, and print the address to open'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "stream" -d 'The streams of the configuration: add, remove, list'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and not __fish_seen_subcommand_from status journal why restart reload pause resume quality snapshot clip share unshare token link viewers kick certificate jobs bridge doctor hooks config setup stream help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "new" -d 'Make a token and print it: it is shown this once'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'Show all tokens: what they are called and what they open'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'End a token, and within two seconds what it has opened'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from certificate" -f -a "self-signed" -d 'Make one for this machine\'s names and addresses, signed by itself'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from bridge" -f -a "pause" -d 'Take no jobs for now'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from bridge" -f -a "resume" -d 'Take jobs again'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from bridge" -f -a "reconnect" -d 'Leave the studio and connect anew'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from bridge" -f -a "address" -d 'Print the box\'s own public address: whoever has it sees everything, for as long as the studio\'s token lives'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from hooks" -f -a "list" -d 'Show the hooks, what waits for them, and what failed last'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from hooks" -f -a "test" -d 'Tell a hook, or all of them, of a test, and show what comes of it'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Say whether it is valid, and if not which key on which line is wrong'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "print" -d 'Print what is in force: file, environment and defaults together, secrets masked'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from stream" -f -a "add" -d 'Add one to the configuration, and start it where Framebridge runs'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from stream" -f -a "remove" -d 'Take one out of the configuration; its viewers are sent away'
complete -c bridgectl -n "__fish_bridgectl_using_subcommand help; and __fish_seen_subcommand_from stream" -f -a "list" -d 'Show those of the configuration, each with its source'
