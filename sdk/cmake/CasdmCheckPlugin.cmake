# Checks a linked plugin for what would surprise its host; run by casdm_add_plugin after linking.
#
#   cmake -D PLUGIN=<library> -D NM=<nm> -D OBJDUMP=<objdump> -P CasdmCheckPlugin.cmake
#
# What is refused, with the reasons, is in docs/plugins/hazards.md.

cmake_minimum_required(VERSION 3.25)

get_filename_component(name "${PLUGIN}" NAME)

execute_process(COMMAND "${NM}" --dynamic --defined-only --format=posix "${PLUGIN}"
  OUTPUT_VARIABLE exported COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE " [^\n]*\n" ";" exported "${exported}")
list(FILTER exported EXCLUDE REGEX "^(casdm_plugin_entry)?$")
if(exported)
  list(JOIN exported "\n  " exported)
  message(FATAL_ERROR
    "${name} exports other symbols than casdm_plugin_entry:\n  ${exported}\n"
    "Two plugins that export one symbol would share it. Remove linker options that undo the version script.")
endif()

execute_process(COMMAND "${OBJDUMP}" --private-headers --section-headers "${PLUGIN}"
  OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
if(NOT headers MATCHES "[.]note[.]casdm ")
  message(FATAL_ERROR
    "${name} has no casdm note, so no host would load it. Remove linker options that drop sections.")
endif()
if(headers MATCHES "NEEDED +(lib(gomp|omp|iomp5)[^\n]*)")
  message(FATAL_ERROR
    "${name} links the OpenMP runtime ${CMAKE_MATCH_1}. LibTorch brings one of its own, and two in a process get in each "
    "other's way.\nLeave out -fopenmp and OpenMP::OpenMP_CXX, and compute with ATen functions, which are parallel.")
endif()
if(headers MATCHES "(RPATH|RUNPATH) +([^\n]+)")
  message(FATAL_ERROR
    "${name} has the ${CMAKE_MATCH_1} ${CMAKE_MATCH_2}. A plugin must take LibTorch and the SDK from its host.\n"
    "Remove -rpath from the linker options.")
endif()
