# Builds plugins, for plugin authors and for casdm itself.
#
# casdm_add_plugin(<name> SOURCES <file>... [VERSION <x.y.z>] [LIBRARIES <target>...]
#                  [CHECK_SET <component>/<key>=<value>...])
#
#   A plugin library <name>.so: module, hidden visibility, one exported symbol, no LibTorch in its
#   RPATH, and an ELF note with its stamp and option schemas. The note contains what the compiled
#   code declares: the objects are linked without it and queried, then linked again with it. Then
#   the library itself is checked; see CasdmCheckPlugin.cmake. It is written to CASDM_PLUGIN_OUTPUT_DIRECTORY (default: the current
#   binary folder) and installed to CASDM_PLUGIN_INSTALL_DIR (default: lib/casdm/plugins;
#   empty: not at all). Outside of casdm's own tree, ctest runs `casdm plugins check` on it, with
#   CHECK_SET for options that have no default.
#
# casdm_add_plugin_test(<plugin> SOURCES <file>...)
#
#   A test program <plugin>_test for the plugin's own code, run by ctest. It gets the components
#   through `casdm_plugin_entry`, as the host does; a failed test exits with a status other than 0.

include(GNUInstallDirs)

function(casdm_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "VERSION" "SOURCES;LIBRARIES;CHECK_SET")
  if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "casdm_add_plugin(<name> SOURCES <file>... [VERSION <x.y.z>] [LIBRARIES <target>...] "
      "[CHECK_SET <component>/<key>=<value>...])")
  endif()
  if(NOT arg_VERSION)
    set(arg_VERSION "${PROJECT_VERSION}")
  endif()
  if(NOT CASDM_PLUGIN_OUTPUT_DIRECTORY)
    set(CASDM_PLUGIN_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}")
  endif()
  if(NOT DEFINED CASDM_PLUGIN_INSTALL_DIR)
    set(CASDM_PLUGIN_INSTALL_DIR ${CMAKE_INSTALL_LIBDIR}/casdm/plugins)
  endif()

  add_library(${name}_objects OBJECT ${arg_SOURCES})
  target_link_libraries(${name}_objects PUBLIC casdm::sdk ${arg_LIBRARIES})
  target_compile_features(${name}_objects PUBLIC cxx_std_20)
  target_compile_definitions(${name}_objects PRIVATE
    CASDM_PLUGIN_ID="${name}" CASDM_PLUGIN_VERSION="${arg_VERSION}" CASDM_BUILD_TYPE="$<CONFIG>")
  set_target_properties(${name}_objects PROPERTIES
    CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(COMMAND casdm_precompile_aten)
    casdm_precompile_aten(${name}_objects)
  endif()

  # Clang's sanitizers leave their own symbols to be found in the program.
  set(all_defined LINKER:-z,defs)
  if(CMAKE_CXX_COMPILER_ID STREQUAL Clang AND "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_DEBUG}" MATCHES "-fsanitize")
    set(all_defined)
  endif()
  set(note "${CMAKE_CURRENT_BINARY_DIR}/${name}_note.cpp")
  foreach(target ${name}_without_note ${name})
    add_library(${target} MODULE $<TARGET_OBJECTS:${name}_objects>)
    target_link_libraries(${target} PRIVATE casdm::sdk ${arg_LIBRARIES})
    target_link_options(${target} PRIVATE
      "LINKER:--version-script=${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin.map" ${all_defined} LINKER:--build-id=sha1
      LINKER:--gc-sections)
    set_target_properties(${target} PROPERTIES PREFIX "" SKIP_BUILD_RPATH ON
      INSTALL_RPATH "" INSTALL_RPATH_USE_LINK_PATH OFF)
  endforeach()
  set_target_properties(${name}_without_note PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${name}_without_note")
  add_custom_command(OUTPUT "${note}"
    COMMAND casdm::note "$<TARGET_FILE:${name}_without_note>" "${note}"
    DEPENDS ${name}_without_note casdm::note VERBATIM
    COMMENT "Describing the plugin ${name}")
  target_sources(${name} PRIVATE "${note}")
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CASDM_PLUGIN_OUTPUT_DIRECTORY}")
  add_custom_command(TARGET ${name} POST_BUILD
    COMMAND "${CMAKE_COMMAND}" -D "PLUGIN=$<TARGET_FILE:${name}>" -D "NM=${CMAKE_NM}" -D "OBJDUMP=${CMAKE_OBJDUMP}"
      -P "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/CasdmCheckPlugin.cmake"
    VERBATIM)
  if(CASDM_PLUGIN_INSTALL_DIR)
    install(TARGETS ${name} LIBRARY DESTINATION "${CASDM_PLUGIN_INSTALL_DIR}")
  endif()
  if(TARGET casdm::command)
    list(TRANSFORM arg_CHECK_SET PREPEND "--set=")
    add_test(NAME ${name}_conformance
      COMMAND casdm::command plugins check "$<TARGET_FILE:${name}>" --device stand-in ${arg_CHECK_SET})
  endif()
endfunction()

function(casdm_add_plugin_test plugin)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES")
  if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "casdm_add_plugin_test(<plugin> SOURCES <file>...)")
  endif()
  add_executable(${plugin}_test ${arg_SOURCES})
  target_link_libraries(${plugin}_test PRIVATE ${plugin}_objects)
  set_target_properties(${plugin}_test PROPERTIES CXX_EXTENSIONS OFF)
  add_test(NAME ${plugin}_test COMMAND ${plugin}_test)
endfunction()
