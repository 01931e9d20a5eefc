# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_framebridge_studio_global_optspecs
    string join \n listen= operators= data= public-url= behind-proxy turn= turn-secret-file= nats= keep-days= keep-mb= log= h/help V/version
end

function __fish_framebridge_studio_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_framebridge_studio_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_framebridge_studio_using_subcommand
    set -l cmd (__fish_framebridge_studio_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l listen -d 'Where boxes and viewers come; port 0 lets the system pick' -r
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l operators -d 'Where the operators\' dashboard listens: an origin of its own, so that no box\'s page can reach into it' -r
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l data -d 'Where everything that has to last is kept' -r -F
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l public-url -d 'The address that viewers use, e.g. https://studio.example; without it, http:// and where it listens' -r
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l turn -d 'TURN server for viewers, e.g. turn:turn.example:3478; repeatable' -r
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l turn-secret-file -d 'File with the secret shared with that TURN server (coturn\'s static-auth-secret)' -r -F
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l nats -d 'Share boxes with the studio\'s other nodes through this NATS server, e.g. nats://10.0.0.1:4222; repeatable' -r
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l keep-days -d 'Days that the files of jobs are kept' -r
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l keep-mb -d 'Megabytes that the files of jobs may take together; the oldest go first' -r
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l log -d 'Levels by module, e.g. info,studio=debug' -r
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -l behind-proxy -d 'Take a viewer\'s address from the last X-Forwarded-For, which a proxy in front has to set'
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -s h -l help -d 'Print help'
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -s V -l version -d 'Print version'
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -f -a "token" -d 'Tokens that let boxes register and operators in'
complete -c framebridge-studio -n "__fish_framebridge_studio_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -s h -l help -d 'Print help'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "new" -d 'Make one and print it; only its hash is kept'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "list" -d 'List them'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "revoke" -d 'End one: its box is not let in any more'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and not __fish_seen_subcommand_from new list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from new" -l data -d 'The data directory' -r -F
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from new" -l operator -d 'For a person at the dashboard instead of a box'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from list" -l data -d 'The data directory' -r -F
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from revoke" -l data -d 'The data directory' -r -F
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "new" -d 'Make one and print it; only its hash is kept'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "list" -d 'List them'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'End one: its box is not let in any more'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand token; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand help; and not __fish_seen_subcommand_from token help" -f -a "token" -d 'Tokens that let boxes register and operators in'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand help; and not __fish_seen_subcommand_from token help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "new" -d 'Make one and print it; only its hash is kept'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "list" -d 'List them'
complete -c framebridge-studio -n "__fish_framebridge_studio_using_subcommand help; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'End one: its box is not let in any more'
