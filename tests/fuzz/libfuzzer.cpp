// The program that libFuzzer runs: --target=NAME chooses what reads the bytes.

#include <cstdlib>
#include <cstring>
#include <iostream>

#include "fuzz/targets.h"

namespace {

const casdm::fuzz::Target* chosen = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  constexpr std::string_view kOption = "--target=";
  for (int i = 1; i < *count; ++i) {
    const std::string_view argument = (*arguments)[i];
    if (!argument.starts_with(kOption)) continue;
    for (const casdm::fuzz::Target& target : casdm::fuzz::targets()) {
      if (target.name == argument.substr(kOption.size())) chosen = &target;
    }
  }
  if (chosen == nullptr) {
    std::cerr << "fuzz: --target=NAME is missing, where NAME is one of:";
    for (const casdm::fuzz::Target& target : casdm::fuzz::targets()) std::cerr << ' ' << target.name;
    std::cerr << '\n';
    std::exit(2);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  casdm::fuzz::is_taken(*chosen, {data, size});
  return 0;
}
