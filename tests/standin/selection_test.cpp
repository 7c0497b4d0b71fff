#include <doctest/doctest.h>

#include <cstdlib>

#include "casdm/error.h"
#include "cuda/device.h"
#include "framework/standin/standin.h"

using namespace casdm;
using namespace casdm::testing;
using doctest::Contains;

namespace {

/// While this object lives, select_device offers the devices of `backend` in place of the stand-in's.
class Offered {
 public:
  explicit Offered(const casdm_cuda_backend& backend) : backend_(backend) { use_cuda_backend(backend_); }
  ~Offered() { use_cuda_backend(standin::cuda_standin()); }
  Offered(const Offered&) = delete;
  Offered& operator=(const Offered&) = delete;

 private:
  casdm_cuda_backend backend_;
};

SelectedDevice selected_for(const std::string& device, Precision precision = Precision::fp32) {
  RunOptions run;
  run.device = device;
  run.precision = precision;
  return select_device(run);
}

casdm_cuda_backend with_devices(int (*count)()) {
  casdm_cuda_backend backend = standin::cuda_standin();
  backend.device_count = count;
  return backend;
}

}  // namespace

TEST_CASE("auto takes a device; where a driver offers none it takes the CPU and says why, and cuda is refused") {
  CHECK(selected_for("auto").device == cuda());
  CHECK(selected_for("auto").name.starts_with("cuda:0, "));
  CHECK(selected_for("cpu").name == "cpu");
  const auto falls_back = [](const std::string& reason) {
    const SelectedDevice device = selected_for("auto");
    CHECK(device.device.is_cpu());
    CHECK(device.name == "cpu, although there is an NVIDIA driver: " + reason);
    CHECK(device.description == device.name);
    const std::string refusal = "run.device = \"cuda\": no CUDA device can be used: " + reason +
                                ". Use run.device = \"cpu\" or \"auto\" to train on the CPU";
    CHECK_THROWS_WITH_AS(selected_for("cuda"), Contains(refusal.c_str()), Error);
  };
  {
    const Offered none(with_devices([] { return 0; }));
    falls_back("the driver offers no device");
  }
  {
    casdm_cuda_backend old = with_devices([] { return 0; });
    old.versions = [] { return casdm_cuda_versions{12080, 13000}; };
    const Offered driver(old);
    falls_back(
        "the driver serves CUDA 12.8 at most, and LibTorch's libraries are of CUDA 13.0: a newer driver is needed");
  }
  casdm_cuda_backend other = standin::cuda_standin();
  other.size -= 1;
  const Offered foreign(other);
  falls_back("libcasdm_cuda.so belongs to another build of casdm");
}

TEST_CASE("a device that does not exist is refused with those that there are") {
  const char* const one = "this machine has 1 CUDA device, expected cuda:0";
  CHECK_THROWS_WITH_AS(selected_for("cuda:7"), Contains(one), ConfigError);
  CHECK_THROWS_WITH_AS(selected_for("cuda:"), Contains(one), ConfigError);
  CHECK_THROWS_WITH_AS(selected_for("cuda:-1"), Contains(one), ConfigError);
  CHECK_THROWS_WITH_AS(selected_for("gpu"), Contains("run.device: expected \"auto\", \"cpu\""), ConfigError);
  {
    const Offered four(with_devices([] { return 4; }));
    // The refusal of a device that does not exist shows which one was taken.
    CHECK_THROWS_WITH_AS(selected_for("cuda:1"), Contains("invalid device ordinal: cuda:1"), c10::Error);
    ::setenv("LOCAL_RANK", "2", /*overwrite=*/1);
    CHECK_THROWS_WITH_AS(selected_for("cuda"), Contains("invalid device ordinal: cuda:2"), c10::Error);
    CHECK(selected_for("cuda:0").device == cuda());
    CHECK_THROWS_WITH_AS(selected_for("cuda:4"), Contains("has 4 CUDA devices, expected cuda:0 to 3"), ConfigError);
    ::setenv("LOCAL_RANK", "4", /*overwrite=*/1);
    const char* const fifth =
        "process 4 of this machine (LOCAL_RANK): this machine has 4 CUDA devices, expected 0 to 3";
    CHECK_THROWS_WITH_AS(selected_for("cuda"), Contains(fifth), ConfigError);
  }
  // A launcher that shows each process one device.
  CHECK(selected_for("cuda").device == cuda());
  CHECK(selected_for("cuda:0").device == cuda());
  ::unsetenv("LOCAL_RANK");
}

TEST_CASE("a precision that the card does not compute in is named, and one that is faster recommended") {
  CHECK(selected_for("cuda").description.ends_with("; fp32 (tf32 and bf16 are several times as fast), deterministic"));
  CHECK(selected_for("cuda", Precision::bf16).description.ends_with("; bf16, deterministic"));
  CHECK(has_bf16_products(cuda()));
  {
    casdm_cuda_backend old = standin::cuda_standin();
    old.device = [](int index) {
      casdm_cuda_device device = standin::cuda_standin().device(index);
      device.major = 7;
      return device;
    };
    const Offered card(old);
    CHECK(selected_for("cuda").description.ends_with("; fp32, deterministic"));
    CHECK(selected_for("cuda", Precision::bf16)
              .description.find("; bf16, which this card only imitates (fp16 is fast there)") != std::string::npos);
    CHECK(selected_for("cuda", Precision::tf32).description.find("; tf32, which on this card is fp32") !=
          std::string::npos);
    CHECK_FALSE(has_bf16_products(cuda()));
  }
  selected_for("cuda");
}
