# SPDX-License-Identifier: BSD-3-Clause
# Install rules: the headers, heddle::heddle, and a relocatable package with its components.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(heddle_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/heddle")
install(TARGETS heddle EXPORT heddle-targets FILE_SET HEADERS)
install(EXPORT heddle-targets NAMESPACE heddle:: DESTINATION "${heddle_package_dir}")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/heddle-config.cmake.in" "${PROJECT_BINARY_DIR}/heddle-config.cmake"
  INSTALL_DESTINATION "${heddle_package_dir}" NO_SET_AND_CHECK_MACRO
  NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/heddle-config-version.cmake" COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/heddle-config.cmake"
              "${PROJECT_BINARY_DIR}/heddle-config-version.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/heddle-components.cmake"
        DESTINATION "${heddle_package_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/heddle")
