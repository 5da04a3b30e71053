# SPDX-License-Identifier: BSD-3-Clause
# Install rules: the headers, heddle::heddle, and a relocatable package with its components.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(heddle_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/heddle")
install(TARGETS heddle EXPORT heddle-targets FILE_SET HEADERS)
install(EXPORT heddle-targets NAMESPACE heddle:: DESTINATION "${heddle_package_dir}")
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/heddle-config.cmake.in" "${PROJECT_BINARY_DIR}/heddle-config.cmake"
  INSTALL_DESTINATION "${heddle_package_dir}" PATH_VARS CMAKE_INSTALL_INCLUDEDIR NO_SET_AND_CHECK_MACRO
  NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/heddle-config-version.cmake" COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/heddle-config.cmake"
              "${PROJECT_BINARY_DIR}/heddle-config-version.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/heddle-components.cmake"
        DESTINATION "${heddle_package_dir}")
# For builds without CMake; it finds its prefix from where it lies.
set(heddle_pc_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")
file(RELATIVE_PATH heddle_pc_to_prefix "/prefix/${heddle_pc_dir}" "/prefix")
configure_file("${PROJECT_SOURCE_DIR}/cmake/heddle.pc.in" "${PROJECT_BINARY_DIR}/heddle.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/heddle.pc" DESTINATION "${heddle_pc_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/heddle")
