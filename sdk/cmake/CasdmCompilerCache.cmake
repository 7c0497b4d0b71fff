# Uses ccache when it is installed. Precompiled headers need the two sloppiness settings.
find_program(CASDM_CCACHE ccache)
if(CASDM_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_PCH_EXTSUM=1
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    ${CASDM_CCACHE})
  add_compile_options(-fpch-preprocess)
endif()

# casdm_precompile(<target> <header>...): the target compiles nothing but this precompiled header, for others to reuse.
function(casdm_precompile target)
  target_precompile_headers(${target} PRIVATE ${ARGN})
  if(CASDM_CCACHE)
    set_target_properties(${target} PROPERTIES
      CXX_COMPILER_LAUNCHER "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/precompile.sh;${CMAKE_CXX_COMPILER_LAUNCHER}")
  endif()
endfunction()
