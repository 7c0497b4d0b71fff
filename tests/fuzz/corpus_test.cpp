#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/targets.h"

namespace fs = std::filesystem;
using namespace casdm::fuzz;

TEST_CASE("every reader takes or refuses all of its corpus, and takes some of it") {
  for (const Target& target : targets()) {
    CAPTURE(target.name);
    std::vector<fs::path> inputs;
    for (const fs::directory_entry& entry : fs::directory_iterator(fs::path(CASDM_FUZZ_CORPUS) / target.name)) {
      inputs.push_back(entry.path());
    }
    std::sort(inputs.begin(), inputs.end());
    CHECK(inputs.size() >= 10);
    int taken = 0;
    for (const fs::path& input : inputs) {
      CAPTURE(input.filename().string());
      std::ifstream file(input, std::ios::binary);
      const std::vector<std::uint8_t> bytes(std::istreambuf_iterator<char>(file), {});
      bool is_taken_here = false;
      CHECK_NOTHROW(is_taken_here = is_taken(target, bytes));
      taken += is_taken_here ? 1 : 0;
    }
    MESSAGE(std::string(target.name) << ": " << inputs.size() << " inputs, " << taken << " taken");
    CHECK(taken > 0);
  }
}
