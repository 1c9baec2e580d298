# SPDX-License-Identifier: Apache-2.0
# Completion of croft's words for bash.

# The options of a sub-command of `croft disk`.
_croft_disk_options() {
    local common="--json -q --quiet -h --help" format="-f --format"
    local new="--fixed --azure --block-size --sector-size --physical-sector-size --replace"
    case $1 in
    create) echo "$common $format $new -p --parent" ;;
    convert) echo "$common $format $new -F --source-format -n --into-existing --flush -j --threads" ;;
    check) echo "$common $format --azure" ;;
    info | repair | compact | map) echo "$common $format" ;;
    resize) echo "$common $format --shrink" ;;
    merge) echo "$common $format --remove" ;;
    rebase) echo "$common $format -u --only-locator" ;;
    compare) echo "$common $format -F --second-format -s --strict" ;;
    mount) echo "$common $format -w --read-write -p --partition --raw" ;;
    umount) echo "$common --force" ;;
    cp) echo "$common $format -p --partition -a --archive" ;;
    esac
}

# The options of a sub-command of `croft vm`.
_croft_vm_options() {
    local common="--json -h --help"
    case $1 in
    run)
        echo "$common --name --kernel --initrd --cmdline --memory --processors --weight --cap --reserve" \
            "--host-processors --node --disk --dvd --nic -d --detach"
        ;;
    shutdown) echo "$common --reboot --hibernate --wait --force --text" ;;
    attach-disk) echo "$common --dvd --lun" ;;
    *) echo "$common" ;;
    esac
}

# The VMs that have a control socket.
_croft_vm_names() {
    local folder=${CROFT_VMS:-/run/croft/vm} socket
    [[ $CROFT_VMS || $EUID == 0 ]] || folder=${XDG_RUNTIME_DIR:-/tmp/croft-$EUID}${XDG_RUNTIME_DIR:+/croft}/vm
    for socket in "$folder"/*.sock; do
        [[ -S $socket ]] && basename "$socket" .sock
    done
}

_croft_vm() {
    local word=$1 words # $2 is the word before it
    if [[ $COMP_CWORD == 2 ]]; then
        words="run console list info drives attach-disk detach-disk resize-disk insert-disc eject-disc nics attach-nic
               detach-nic link shutdown request kill reset pause resume -h --help"
    elif [[ $word == -* ]]; then
        words=$(_croft_vm_options "${COMP_WORDS[2]}")
    elif [[ ${COMP_WORDS[2]} == run ]]; then
        case $2 in
        --name | --cmdline | --memory | --processors | --weight | --cap | --reserve | --host-processors | --node) ;;
        --nic) mapfile -t COMPREPLY < <(compgen -W "none tap=" -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
        esac
        return
    elif [[ ${COMP_WORDS[2]} == attach-disk && $COMP_CWORD -gt 3 ]] ||
        [[ ${COMP_WORDS[2]} == insert-disc && $COMP_CWORD -gt 4 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
    elif [[ ${COMP_WORDS[2]} == link && $COMP_CWORD == 5 ]]; then
        words="up down"
    elif [[ ${COMP_WORDS[2]} == attach-nic && $COMP_CWORD -gt 3 ]]; then
        words="tap="
    elif [[ ${COMP_WORDS[2]} != list ]]; then
        words=$(_croft_vm_names)
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

_croft_host() {
    local words="stats trace -h --help" # $2 is the word before it
    if [[ $COMP_CWORD != 2 ]]; then
        case "${COMP_WORDS[2]} $2" in
        "trace --reason")
            words="interrupt nmi window cpuid msr msr-read msr-write port halt hypercall memory xcr0 caches
                   undefined counter shutdown invalid exception unexpected other"
            ;;
        "trace --partition") words="root" ;;
        trace*) words="--json --partition --vp --reason --lp --count --duration --summary -h --help" ;;
        *) words="--json -i --interval -c --count -h --help" ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$1")
}

_croft() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words
    COMPREPLY=()
    if [[ $COMP_CWORD != 1 && ${COMP_WORDS[1]} == vm ]]; then
        _croft_vm "$word" "$before"
        return
    fi
    if [[ $COMP_CWORD != 1 && ${COMP_WORDS[1]} == host ]]; then
        _croft_host "$word" "$before"
        return
    fi
    case $COMP_CWORD in
    1)
        mapfile -t COMPREPLY < <(compgen -W "disk host vm -h --help" -- "$word")
        return
        ;;
    2)
        [[ ${COMP_WORDS[1]} == disk ]] || return
        words="create info convert check repair resize compact merge rebase map compare mount umount cp"
        mapfile -t COMPREPLY < <(compgen -W "$words -h --help" -- "$word")
        return
        ;;
    esac
    case $before in
    -f | --format | -F | --source-format | --second-format) words="raw vhd vhdx iso" ;;
    --sector-size | --physical-sector-size) words="512 4096" ;;
    --block-size) words="1M 2M 4M 8M 16M 32M 64M 128M 256M" ;;
    *) [[ $word == -* ]] && words=$(_croft_disk_options "${COMP_WORDS[2]}") ;;
    esac
    if [[ $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -o filenames -F _croft croft
