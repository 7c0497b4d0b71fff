# LibTorch from the PyPI wheel `torch`, as two imported targets made from the wheel's own files:
#
#   casdm::libtorch       libtorch_cpu and libc10: all that host and plugins link
#   casdm::libtorch_cuda  the CUDA libraries of the wheel, for the backend loaded on demand
#
# The wheel's find_package(Torch) stops without a CUDA toolkit and, with one, asks for its
# architectures; neither is needed to link against the wheel.
#
# Input: CASDM_TORCH_DIR, the folder `torch` of the wheel (cache variable or environment). Without
# it, the wheel of version CASDM_TORCH_RELEASE that tools/setup.sh installs.
# Output: CASDM_TORCH_VERSION ("2.11.0"), CASDM_CUDA_VERSION ("13.0", or "none").

if(TARGET casdm::libtorch)
  return()
endif()

if(NOT DEFINED CASDM_TORCH_DIR)
  set(CASDM_TORCH_DIR "$ENV{CASDM_TORCH_DIR}" CACHE PATH "The folder `torch` inside the wheel's site-packages")
endif()
if(NOT CASDM_TORCH_DIR)
  if(DEFINED ENV{CASDM_CACHE})
    set(_casdm_venv "$ENV{CASDM_CACHE}")
  elseif(DEFINED ENV{XDG_CACHE_HOME})
    set(_casdm_venv "$ENV{XDG_CACHE_HOME}/casdm")
  else()
    set(_casdm_venv "$ENV{HOME}/.cache/casdm")
  endif()
  string(APPEND _casdm_venv "/venv-${CASDM_TORCH_RELEASE}")
  file(GLOB CASDM_TORCH_DIR "${_casdm_venv}/lib/python3*/site-packages/torch")
  if(NOT CASDM_TORCH_DIR)
    message(FATAL_ERROR
      "No LibTorch ${CASDM_TORCH_RELEASE} in ${_casdm_venv}.\n"
      "Run `tools/setup.sh --torch ${CASDM_TORCH_RELEASE}` of casdm's source tree, or have pip install "
      "torch==${CASDM_TORCH_RELEASE} and pass -DCASDM_TORCH_DIR=<site-packages>/torch.")
  endif()
endif()

if(NOT EXISTS "${CASDM_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR
    "No LibTorch: '${CASDM_TORCH_DIR}' holds no lib/libtorch_cpu.so.\n"
    "CASDM_TORCH_DIR must be the folder <site-packages>/torch of an installed wheel.")
endif()

file(STRINGS "${CASDM_TORCH_DIR}/version.py" _casdm_version_lines REGEX "^(__version__|cuda)")
string(REGEX MATCH "__version__ = '([0-9.]+)" _ "${_casdm_version_lines}")
set(CASDM_TORCH_VERSION "${CMAKE_MATCH_1}")
if(_casdm_version_lines MATCHES "cuda[^=]*= '([0-9.]+)'")
  set(CASDM_CUDA_VERSION "${CMAKE_MATCH_1}")
else()
  set(CASDM_CUDA_VERSION "none")
endif()
message(STATUS "LibTorch ${CASDM_TORCH_VERSION} (CUDA ${CASDM_CUDA_VERSION}) in ${CASDM_TORCH_DIR}")

set(_casdm_torch_lib "${CASDM_TORCH_DIR}/lib")
get_filename_component(_casdm_site_packages "${CASDM_TORCH_DIR}" DIRECTORY)
file(GLOB _casdm_cuda_lib "${_casdm_site_packages}/nvidia/cu*/lib")
list(JOIN _casdm_cuda_lib ":" _casdm_cuda_lib)
file(GLOB _casdm_cuda_include "${_casdm_site_packages}/nvidia/cu*/include")

foreach(_casdm_library c10 torch_cpu)
  add_library(casdm::${_casdm_library} SHARED IMPORTED)
  set_target_properties(casdm::${_casdm_library} PROPERTIES
    IMPORTED_LOCATION "${_casdm_torch_lib}/lib${_casdm_library}.so")
endforeach()

add_library(casdm::libtorch INTERFACE IMPORTED)
set_target_properties(casdm::libtorch PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "${CASDM_TORCH_DIR}/include;${CASDM_TORCH_DIR}/include/torch/csrc/api/include"
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${CASDM_TORCH_DIR}/include;${CASDM_TORCH_DIR}/include/torch/csrc/api/include"
  INTERFACE_LINK_LIBRARIES "casdm::torch_cpu;casdm::c10"
  INTERFACE_LINK_OPTIONS "LINKER:-rpath-link,${_casdm_torch_lib}:${_casdm_cuda_lib}")

if(NOT CASDM_CUDA_VERSION STREQUAL "none")
  foreach(_casdm_library c10_cuda torch_cuda)
    add_library(casdm::${_casdm_library} SHARED IMPORTED)
    set_target_properties(casdm::${_casdm_library} PROPERTIES
      IMPORTED_LOCATION "${_casdm_torch_lib}/lib${_casdm_library}.so")
  endforeach()
  add_library(casdm::libtorch_cuda INTERFACE IMPORTED)
  # --no-as-needed: libtorch_cuda registers its kernels when it is loaded, nothing refers to it.
  set_target_properties(casdm::libtorch_cuda PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_casdm_cuda_include}"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${_casdm_cuda_include}"
    INTERFACE_LINK_LIBRARIES "casdm::libtorch;-Wl,--no-as-needed;casdm::torch_cuda;casdm::c10_cuda;-Wl,--as-needed"
    INTERFACE_LINK_OPTIONS "LINKER:--allow-shlib-undefined")
endif()
