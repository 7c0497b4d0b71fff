# Uses ccache when it is installed. Precompiled headers need the two sloppiness settings.
find_program(CASDM_CCACHE ccache)
if(CASDM_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
    ${CASDM_CCACHE})
  add_compile_options(-fpch-preprocess)
endif()
