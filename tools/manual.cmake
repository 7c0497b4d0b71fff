# Writes the manual pages and the completions of bash, zsh and fish, which the program makes itself, below a prefix:
#   cmake -D CASDM=PROGRAM -D PREFIX=FOLDER -P tools/manual.cmake
function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(share ${PREFIX}/share)
run(python3 -B ${CMAKE_CURRENT_LIST_DIR}/man_pages.py ${CASDM} ${share}/man/man1 OUTPUT_QUIET)
file(MAKE_DIRECTORY ${share}/bash-completion/completions ${share}/fish/vendor_completions.d ${share}/zsh/site-functions)
run(${CASDM} --safe-mode completion bash OUTPUT_FILE ${share}/bash-completion/completions/casdm)
run(${CASDM} --safe-mode completion fish OUTPUT_FILE ${share}/fish/vendor_completions.d/casdm.fish)

# zsh runs a file of this name when it completes the command. It has bash's functions for completion, but no mapfile, and
# leaves KEY=VALUE one word.
file(READ ${share}/bash-completion/completions/casdm script)
string(REPLACE "_casdm" "_casdm_words" script "${script}")
string(REPLACE "mapfile -t COMPREPLY" "_casdm_lines" script "${script}")
string(REPLACE "complete -o default -F _casdm_words casdm" "_bash_complete -o default -F _casdm_split" script "${script}")
file(WRITE ${share}/zsh/site-functions/_casdm "#compdef casdm
autoload -U +X bashcompinit && bashcompinit
_casdm_lines() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do COMPREPLY+=(\"$line\"); done
}
_casdm_split() {
  local word=\${COMP_WORDS[COMP_CWORD]} key=
  if [[ $word == *=* ]]; then
    key=\${word%%=*}=
    COMP_WORDS=(\"\${COMP_WORDS[@]:0:$COMP_CWORD}\" \"\${key%=}\" = \"\${word#*=}\")
    COMP_CWORD=$((COMP_CWORD + 2))
  fi
  _casdm_words
  if ((\${#COMPREPLY[@]} > 0)); then COMPREPLY=(\"\${COMPREPLY[@]/#/$key}\"); fi
}
${script}")
