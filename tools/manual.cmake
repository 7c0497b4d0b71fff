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
run(${CASDM} --safe-mode completion zsh OUTPUT_FILE ${share}/zsh/site-functions/_casdm)
