#pragma once

#include <string>

namespace casdm {

/// The machine for people: "AMD EPYC 7B13, 2 CPUs, 24 GiB".
std::string machine_description();

}  // namespace casdm
