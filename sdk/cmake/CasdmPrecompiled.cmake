# One precompiled ATen.h for the SDK, all plugins and the framework.
#
# casdm_precompile_aten(<target>): the target, whose visibility is set already, uses it. With Clang there is one for each
# visibility.

function(casdm_precompile_aten target)
  set(header casdm_aten_pch)
  set(visibility default)
  get_target_property(wanted ${target} CXX_VISIBILITY_PRESET)
  if(wanted STREQUAL hidden AND CMAKE_CXX_COMPILER_ID STREQUAL Clang)
    set(header casdm_aten_pch_hidden)
    set(visibility hidden)
  endif()
  if(NOT TARGET ${header})
    file(CONFIGURE OUTPUT ${header}.cpp CONTENT "")
    add_library(${header} OBJECT ${header}.cpp)
    target_link_libraries(${header} PRIVATE casdm::libtorch)
    set_target_properties(${header} PROPERTIES CXX_VISIBILITY_PRESET ${visibility})
    casdm_precompile(${header} <ATen/ATen.h> <functional> <map> <memory> <string> <vector>)
  endif()
  target_precompile_headers(${target} REUSE_FROM ${header})
endfunction()
