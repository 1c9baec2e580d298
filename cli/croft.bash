# SPDX-License-Identifier: Apache-2.0
# Completion of croft's words for bash.

_croft() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local common="--json --quiet --help"
    local new="--format --fixed --azure --block-size --sector-size --physical-sector-size --replace"
    COMPREPLY=()
    case $COMP_CWORD in
    1)
        mapfile -t COMPREPLY < <(compgen -W "disk --help" -- "$word")
        return
        ;;
    2)
        [[ ${COMP_WORDS[1]} == disk ]] || return
        mapfile -t COMPREPLY < <(compgen -W "create info convert check repair resize compact merge \
            rebase map compare mount umount cp --help" -- "$word")
        return
        ;;
    esac
    case $before in
    -f | --format | --source-format)
        mapfile -t COMPREPLY < <(compgen -W "raw vhd vhdx iso" -- "$word")
        return
        ;;
    --sector-size | --physical-sector-size)
        mapfile -t COMPREPLY < <(compgen -W "512 4096" -- "$word")
        return
        ;;
    esac
    if [[ $word == -* ]]; then
        local options=$common
        case ${COMP_WORDS[2]} in
        create) options+=" $new --parent" ;;
        convert) options+=" $new --into-existing --flush --threads --source-format" ;;
        check) options+=" --azure" ;;
        resize) options+=" --shrink" ;;
        merge) options+=" --remove" ;;
        rebase) options+=" --only-locator" ;;
        compare) options+=" --strict" ;;
        mount) options+=" --read-write --partition --raw" ;;
        cp) options+=" --partition --archive" ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
}
complete -o filenames -F _croft croft
