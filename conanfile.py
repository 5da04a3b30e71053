# SPDX-License-Identifier: BSD-3-Clause
"""Conan 2: `conan create .` makes a package of the headers; components are for CMake's package."""
import pathlib
import re

from conan import ConanFile
from conan.tools.files import copy


class Heddle(ConanFile):
    name = "heddle"
    license = "BSD-3-Clause"
    description = "Header-only C++20 expression-template tensors, compiled at build time to fused loops"
    package_type = "header-library"
    exports_sources = "include/*", "LICENSE"
    no_copy_source = True

    def set_version(self):
        text = (pathlib.Path(self.recipe_folder) / "include/heddle/version.hpp").read_text()
        self.version = ".".join(re.search(rf"#define HEDDLE_VERSION_{part} +(\d+)", text)[1]
                                for part in ("MAJOR", "MINOR", "PATCH"))

    def package(self):
        copy(self, "LICENSE", self.source_folder, str(pathlib.Path(self.package_folder) / "licenses"))
        for pattern in ("*.hpp", "*.cuh"):
            copy(self, pattern, str(pathlib.Path(self.source_folder) / "include"),
                 str(pathlib.Path(self.package_folder) / "include"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_file_name", "heddle")
        self.cpp_info.set_property("cmake_target_name", "heddle::heddle")
