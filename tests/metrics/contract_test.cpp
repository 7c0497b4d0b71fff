#include "metrics/contract.h"
#include "casdm/safetensors.h"
#include "metrics/metrics.h"

namespace casdm {
namespace {

using namespace testing;

TEST_CASE("the pixel metrics fulfil the contract") {
  check_contract({{"l1"},
                  {"l2"},
                  {"huber", "delta = 0.5"},
                  {"pseudo_huber"},
                  {"charbonnier"},
                  {"gradient"},
                  {"edge"},
                  {"edge", "sigma = 0.0"},
                  {"dct"},
                  {"dct", "norm = \"l1\"\nluminance = false"},
                  {"wavelet"},
                  {"wavelet", "norm = \"l2\"\nlevels = 2"},
                  {"spectral"},
                  {"spectral", "logarithmic = true"}});
}

TEST_CASE("the structural similarities fulfil the contract") {
  check_contract({{"ssim"}, {"ms_ssim"}, {"ms_ssim", "", 32}});
}

TEST_CASE("ST-LPIPS fulfils the contract") {
  std::vector<MetricCase> cases;
  for (const std::string net : {"vgg16", "alexnet"}) {
    try {
      find_weights("st_lpips_" + net + ".safetensors");
      cases.push_back({"st_lpips", "net = \"" + net + "\"", 16, false});
    } catch (const Error& error) {
      MESSAGE("SKIPPED ", net, ": ", error.what());
    }
  }
  check_contract(cases);
}

}  // namespace
}  // namespace casdm
