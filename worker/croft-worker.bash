# SPDX-License-Identifier: Apache-2.0
# Completion of croft-worker's words for bash.

_croft_worker() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    case $before in
    --console)
        mapfile -t COMPREPLY < <(compgen -W "stdio none unix:" -- "$word"; compgen -f -- "$word")
        return
        ;;
    --kernel | --initrd | --control | --settings | --disk | --dvd)
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
        ;;
    --nic)
        local devices=(/sys/class/net/*/tun_flags)
        devices=("${devices[@]#/sys/class/net/}")
        mapfile -t COMPREPLY < <(compgen -P tap= -W "${devices[*]%/tun_flags}" -- "${word#tap=}")
        return
        ;;
    --cmdline | --memory | --processors | --weight | --cap | --reserve | --host-processors | --node | --name)
        return
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "--kernel --initrd --cmdline --memory --processors --weight --cap \
        --reserve --host-processors --node --console \
        --control --disk --dvd --nic --name --settings --help --version" -- "$word")
}
complete -o filenames -F _croft_worker croft-worker
