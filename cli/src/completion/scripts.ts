/** What a shell loads. All three ask `strata __complete WORDS…`, so that what can follow is known in one place. */
export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

const bash = `# strata completion for bash: source <(strata completion bash)
_strata() {
  local IFS=$'\\n'
  COMPREPLY=($(strata __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  if [ \${#COMPREPLY[@]} -eq 0 ]; then
    compopt -o default 2>/dev/null
  fi
}
complete -F _strata strata
`;

const zsh = `#compdef strata
# strata completion for zsh: source <(strata completion zsh)
_strata() {
  local -a found
  found=("\${(@f)$(strata __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then
    compadd -- $found
  else
    _files
  fi
}
compdef _strata strata
`;

const fish = `# strata completion for fish: strata completion fish | source
function __strata_complete
  set -l words (commandline -opc) (commandline -ct)
  strata __complete -- $words[2..-1] 2>/dev/null
end
complete -c strata -a '(__strata_complete)'
`;

export const completionScripts: Readonly<Record<Shell, string>> = { bash, zsh, fish };
