# Writes the manual pages and the completions of bash, zsh and fish, which the program makes itself, below a prefix:
#   cmake -D CASDM=PROGRAM -D PREFIX=FOLDER -P tools/manual.cmake
execute_process(COMMAND python3 -B ${CMAKE_CURRENT_LIST_DIR}/man_pages.py ${CASDM} ${PREFIX}/share/man/man1
  COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
foreach(completion bash:bash-completion/completions/casdm fish:fish/vendor_completions.d/casdm.fish
    zsh:zsh/site-functions/_casdm)
  string(REGEX MATCH "^([a-z]+):(.*)/([^/]+)$" whole ${completion})
  set(folder ${PREFIX}/share/${CMAKE_MATCH_2})
  set(file ${folder}/${CMAKE_MATCH_3})
  file(MAKE_DIRECTORY ${folder})
  execute_process(COMMAND ${CASDM} --safe-mode completion ${CMAKE_MATCH_1} OUTPUT_FILE ${file} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
