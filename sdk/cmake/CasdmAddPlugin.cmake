# casdm_add_plugin(<name> SOURCES <file>... [VERSION <x.y.z>] [LIBRARIES <target>...])
#
# A plugin library <name>.so: module, hidden visibility, one exported symbol, no LibTorch in its
# RPATH, and an ELF note with its stamp and option schemas. The note is made of what the compiled
# code declares: the objects are linked once without it, asked, linked again with it, and the
# result is compared with the code after linking.

set(CASDM_ADD_PLUGIN_DIR "${CMAKE_CURRENT_LIST_DIR}")

function(casdm_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "VERSION" "SOURCES;LIBRARIES")
  if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "casdm_add_plugin(<name> SOURCES <file>... [VERSION <x.y.z>] [LIBRARIES <target>...])")
  endif()
  if(NOT arg_VERSION)
    set(arg_VERSION "${PROJECT_VERSION}")
  endif()

  add_library(${name}_objects OBJECT ${arg_SOURCES})
  target_link_libraries(${name}_objects PUBLIC casdm::sdk ${arg_LIBRARIES})
  target_compile_features(${name}_objects PUBLIC cxx_std_20)
  target_compile_definitions(${name}_objects PRIVATE
    CASDM_PLUGIN_ID="${name}" CASDM_PLUGIN_VERSION="${arg_VERSION}" CASDM_BUILD_TYPE="$<CONFIG>")
  set_target_properties(${name}_objects PROPERTIES
    POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(TARGET casdm_aten_pch)
    target_precompile_headers(${name}_objects REUSE_FROM casdm_aten_pch)
  endif()

  set(note "${CMAKE_CURRENT_BINARY_DIR}/${name}_note.cpp")
  foreach(target ${name}_without_note ${name})
    add_library(${target} MODULE $<TARGET_OBJECTS:${name}_objects>)
    target_link_libraries(${target} PRIVATE casdm::sdk ${arg_LIBRARIES})
    target_link_options(${target} PRIVATE
      "LINKER:--version-script=${CASDM_ADD_PLUGIN_DIR}/plugin.map" LINKER:-z,defs LINKER:--build-id=sha1
      LINKER:--gc-sections)
    set_target_properties(${target} PROPERTIES PREFIX "" SKIP_BUILD_RPATH ON INSTALL_RPATH "")
  endforeach()
  set_target_properties(${name}_without_note PROPERTIES
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/${name}_without_note")
  add_custom_command(OUTPUT "${note}"
    COMMAND casdm::note emit "$<TARGET_FILE:${name}_without_note>" "${note}"
    DEPENDS ${name}_without_note casdm::note VERBATIM
    COMMENT "Describing the plugin ${name}")
  target_sources(${name} PRIVATE "${note}")
  set_target_properties(${name} PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CASDM_PLUGIN_OUTPUT_DIRECTORY}")
  add_custom_command(TARGET ${name} POST_BUILD
    COMMAND casdm::note verify "$<TARGET_FILE:${name}>" VERBATIM)
endfunction()
