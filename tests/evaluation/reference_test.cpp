#include "framework/evaluation/reference.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <stdlib.h>

#include <chrono>
#include <iterator>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "evaluation/judging.h"
#include "framework/evaluation/reference_writer.h"
#include "framework/evaluation/statistics.h"
#include "framework/evaluation/telling_options.h"
#include "framework/reporting/npz_file.h"
#include "framework/support/files.h"
#include "sdk/arrays/npz_reader.h"
#include "support/captured.h"
#include "support/components.h"
#include "support/messages.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const ReferenceOptions kNoCache{{}, false};

/// Sets CASDM_CACHE while this object lives.
class CacheFolder {
 public:
  CacheFolder() { ::setenv("CASDM_CACHE", folder_.path().c_str(), 1); }
  ~CacheFolder() { ::unsetenv("CASDM_CACHE"); }
  const fs::path& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

std::vector<double> values(const Judges& judges, const SetState& set, const Reference& reference) {
  std::vector<double> result;
  for (const JudgedScore& score : judges.compare(set, reference.state)) result.push_back(score.value);
  return result;
}

}  // namespace

TEST_CASE("a set has distance 0 to itself, and a shifted one has the distance of its shift") {
  const Judges judges = make_judges(kCells);
  const at::Tensor images = some_images(150).clamp(0, 200);
  const Reference reference = reference_of_images(stream_of_tensor(images), judges, kNoCache);
  const JudgedSet same = gather(stream_of_tensor(images), judges, {});
  CHECK(values(judges, same.state, reference)[0] == 0);
  // 51 steps of 1/127.5 in each of 12 features; float32 features of order 1 are exact to 1e-7.
  const JudgedSet shifted = gather(stream_of_tensor(images + 51), judges, {});
  CHECK(values(judges, shifted.state, reference)[0] == doctest::Approx(12 * 0.4 * 0.4).epsilon(1e-6));
}

TEST_CASE("a reference that cannot be cached is judged all the same, with a message") {
  const TemporaryFolder folder;
  write_file(folder.path() / "file", "not a folder");
  ::setenv("CASDM_CACHE", (folder.path() / "file").c_str(), 1);
  const Judges judges = make_judges(kCells);
  Reference reference;
  const std::string said =
      stderr_of([&] { reference = reference_of_images(stream_of_tensor(some_images(50)), judges, {}); });
  ::unsetenv("CASDM_CACHE");
  CHECK(reference.images == 50);
  CHECK_MESSAGE(contains(said, "the reference is not kept for the next time: "), said);
  CHECK_MESSAGE(contains(said, (folder.path() / "file").string()), said);
}

TEST_CASE("a written reference gives the same scores bit for bit") {
  const TemporaryFolder folder;
  const Judges judges = make_judges(kCells);
  const ImageStream real = stream_of_tensor(some_images(100));
  const Reference reference = reference_of_images(real, judges, kNoCache);
  const JudgedSet set = gather(stream_of_tensor(some_images(80, 2)), judges, {});
  const fs::path file = folder.path() / "reference.safetensors";
  write_reference(file, reference, judges, real);
  const Reference read = reference_of_file(file, judges, kNoCache);
  CHECK(values(judges, set.state, read) == values(judges, set.state, reference));
  CHECK(read.images == 100);
  CHECK(read.name == "tensor");
}

TEST_CASE("a reference for another judge, resize or shape is refused with the differences") {
  const TemporaryFolder folder;
  const Judges judges = make_judges(kCells);
  const ImageStream real = stream_of_tensor(some_images(20));
  const fs::path file = folder.path() / "reference.safetensors";
  write_reference(file, reference_of_images(real, judges, kNoCache), judges, real);
  const Judges other =
      make_judges("judges = [{ type = \"cells\", resize = \"bilinear\", metrics = [{ type = \"moments_gap\" }] }]");
  const std::string message = message_of([&] { reference_of_file(file, other, kNoCache); });
  CHECK_MESSAGE(contains(message, "resize \"none\" there, \"bilinear\" here"), message);
  const Judges renamed =
      make_judges("judges = [{ type = \"cells\", name = \"b\", metrics = [{ type = \"moments_gap\" }] }]");
  CHECK_NOTHROW(reference_of_file(file, renamed, kNoCache));
}

TEST_CASE("evaluations of earlier versions tell networks with weights by these alone") {
  const Value options(Value::Table{{"gain", 2}, {"weights", "/here"}});
  Value identity(Value::Table{{"options", options}, {"weights_sha256", ""}});
  CHECK(telling_options(identity) == options);
  identity.set("weights_sha256", "5f");
  CHECK(telling_options(identity).as_table().empty());
  identity.set(kLocatedBy, Value::Array{"weights"});
  CHECK(telling_options(identity) == Value(Value::Table{{"gain", 2}}));
}

TEST_CASE("a reference of other options is refused, also with the same weights, but not for where these are") {
  const TemporaryFolder folder;
  const ImageStream real = stream_of_tensor(some_images(20));
  const auto judged = [](const std::string& options) {
    return make_judges("judges = [{ type = \"cells\", " + options + ", metrics = [{ type = \"moments_gap\" }] }]");
  };
  const Judges judges = judged("is_trained = true, weights = \"/here/a.safetensors\"");
  const Reference reference = reference_of_images(real, judges, kNoCache);
  for (const char* name : {"reference.safetensors", "reference.npz"}) {
    const fs::path file = folder.path() / name;
    write_reference(file, reference, judges, real);
    const auto message = [&](const std::string& options) {
      return message_of([&] { reference_of_file(file, judged("is_trained = true, " + options), kNoCache); });
    };
    CHECK(message("weights = \"/there/a.safetensors\"") == "nothing thrown");
    if (file.extension() == ".npz") continue;  // its images serve a judge that its moments do not
    CHECK_MESSAGE(contains(message("shows_tf32 = true"), "options {"), message("shows_tf32 = true"));
  }
  const Judges other = judged("is_trained = true, shows_tf32 = true");
  const Reference read = reference_of_file(folder.path() / "reference.npz", other, kNoCache);
  const JudgedSet same = gather(real, other, {});
  CHECK(values(other, same.state, read)[0] < 1e-12);  // computed from the images, not from the moments of other options
}

TEST_CASE("a reference file that is truncated, altered or something else is refused by name") {
  const TemporaryFolder folder;
  const Judges judges = make_judges(kCells);
  const ImageStream real = stream_of_tensor(some_images(20));
  const fs::path file = folder.path() / "reference.safetensors";
  write_reference(file, reference_of_images(real, judges, kNoCache), judges, real);
  const std::string bytes = read_file(file);
  write_file(file, bytes.substr(0, bytes.size() - 8));
  CHECK(contains(message_of([&] { reference_of_file(file, judges, kNoCache); }), "reference.safetensors"));
  std::string altered = bytes;
  altered[bytes.size() - 5] = static_cast<char>(altered[bytes.size() - 5] ^ 4);
  write_file(file, altered);
  CHECK(contains(message_of([&] { reference_of_file(file, judges, kNoCache); }), "is altered"));
  write_safetensors(file, {{"weight", at::ones({2})}});
  CHECK(contains(message_of([&] { reference_of_file(file, judges, kNoCache); }), "not a reference"));
  CHECK(contains(message_of([&] { reference_of_file(folder.path() / "referenc.npz", judges, kNoCache); }),
                 "does not exist"));
}

TEST_CASE("guided-diffusion's format has mean, covariance over N - 1 and images, and serves metrics of moments") {
  const TemporaryFolder folder;
  const Judges judges = make_judges(kCells);
  const at::Tensor images = some_images(90);
  const ImageStream real = stream_of_tensor(images);
  const Reference reference = reference_of_images(real, judges, kNoCache);
  const fs::path file = folder.path() / "reference.npz";
  write_reference(file, reference, judges, real);
  const at::Tensor features =
      at::adaptive_avg_pool2d(images.to(at::kFloat) / 127.5 - 1, {2, 2}).flatten(1).to(at::kDouble);
  const at::Tensor centred = features - features.mean(0);
  const Statistics statistics = read_statistics(file);
  CHECK(max_relative_difference(statistics.moments.at(0).second.mean, features.mean(0)) < 1e-12);
  CHECK(max_relative_difference(statistics.moments.at(0).second.covariance, centred.t().matmul(centred) / 89) < 1e-12);
  NpzImages kept(file);
  CHECK(kept.size() == 90);
  CHECK(kept.read(89).equal(images[89]));
  const JudgedSet set = gather(stream_of_tensor(some_images(80, 2)), judges, {});
  const Reference read = reference_of_file(file, judges, kNoCache);
  CHECK(read.kind == "statistics");
  CHECK(values(judges, set.state, read)[0] == doctest::Approx(values(judges, set.state, reference)[0]).epsilon(1e-12));
  CHECK(read.images == 90);
  CHECK(read.remarks.empty());
}

namespace {

/// Two judges of 12 features, one of which needs more than mean and covariance.
const std::string kTwo =
    "judges = [{ type = \"cells\", metrics = [{ type = \"moments_gap\" }, { type = \"sliced_wasserstein\" }] }, "
    "{ type = \"pixels\", size = 2, metrics = [{ type = \"moments_gap\" }] }]";

/// `file` as another program would write it: without saying whose statistics it contains.
void write_nameless(const fs::path& file, const fs::path& named, const at::Tensor& images,
                    const std::vector<std::string>& means) {
  std::vector<std::pair<std::string, at::Tensor>> arrays;
  for (const std::string& name : means) {
    arrays.emplace_back(name, NpzReader(named).numbers(name));
    const std::string covariance = "sigma" + name.substr(2);
    arrays.emplace_back(covariance, NpzReader(named).numbers(covariance));
  }
  NpzFile written(file, images.size(0), 3, 16);
  written.start();
  written.append(images);
  written.finish({}, "other.json", "{}", arrays);
}

}  // namespace

TEST_CASE("statistics of judges with the same number of features are each used for the right judge") {
  const TemporaryFolder folder;
  const Judges judges = make_judges(kTwo);
  const at::Tensor images = some_images(90);
  const ImageStream real = stream_of_tensor(images);
  const Reference reference = reference_of_images(real, judges, kNoCache);
  const fs::path file = folder.path() / "reference.npz";
  write_reference(file, reference, judges, real);
  const JudgedSet set = gather(stream_of_tensor(some_images(80, 2)), judges, {});
  const std::vector<double> expected = values(judges, set.state, reference);
  const std::vector<double> read = values(judges, set.state, reference_of_file(file, judges, kNoCache));
  REQUIRE(read.size() == expected.size());
  for (std::size_t i = 0; i < read.size(); ++i) CHECK(read[i] == doctest::Approx(expected[i]).epsilon(1e-9));
  // A judge that the file does not contain is compared with the images.
  const Judges other =
      make_judges("judges = [{ type = \"pixels\", size = 4, metrics = [{ type = \"moments_gap\" }] }]");
  CHECK(reference_of_file(file, other, kNoCache).images == 90);

  const fs::path nameless = folder.path() / "nameless.npz";
  write_nameless(nameless, file, images, {"mu", "mu_s"});
  const std::string both = message_of([&] { reference_of_file(nameless, make_judges(kCells), kNoCache); });
  CHECK_MESSAGE(contains(both, "cells might be compared with mu or mu_s"), both);
  write_nameless(nameless, file, images, {"mu"});
  const std::string shared = message_of([&] { reference_of_file(nameless, judges, kNoCache); });
  CHECK_MESSAGE(contains(shared, "mu might be of cells or of pixels"), shared);
  const Reference taken = reference_of_file(nameless, make_judges(kCells), kNoCache);
  CHECK(contains(taken.remarks.at(0), "does not say which network"));
}

TEST_CASE("each score has its number of reference images, which is unknown if no file says it") {
  const TemporaryFolder folder;
  const Judges judges = make_judges(
      "judges = [{ type = \"cells\", metrics = [{ type = \"moments_gap\" }, { type = \"sliced_wasserstein\" }] }]");
  const at::Tensor images = some_images(90);
  const ImageStream real = stream_of_tensor(images);
  Reference reference = reference_of_images(real, judges, kNoCache);
  reference.images = 12000;  // of which arr_0 contains some
  const fs::path file = folder.path() / "reference.npz";
  write_reference(file, reference, judges, real);
  CHECK(reference_of_file(file, judges, kNoCache).images_by_metric == std::vector<std::int64_t>{12000, 90});
  const fs::path nameless = folder.path() / "nameless.npz";
  write_nameless(nameless, file, images, {"mu"});
  const Reference read = reference_of_file(nameless, judges, kNoCache);
  CHECK(read.images_by_metric == std::vector<std::int64_t>{0, 90});
  CHECK(read.images == 0);
}

TEST_CASE("statistics of other features serve no judge, and the message gives both numbers") {
  const Judges judges = make_judges(kCells);
  const std::string message =
      message_of([&] { reference_of_file(evaluation_file("numpy1_protocol4.pkl"), judges, kNoCache); });
  CHECK_MESSAGE(contains(message, "fid.mu of 3 features"), message);
  CHECK_MESSAGE(contains(message, "cells 12"), message);
  // With images in the file whose shape differs from those to be judged.
  const std::string shape = message_of([&] { reference_of_file(evaluation_file("adm.npz"), judges, kNoCache); });
  CHECK_MESSAGE(contains(shape, "4 px"), shape);
}

TEST_CASE("a reference is computed once, and a damaged cache is computed again") {
  const CacheFolder cache;
  const Judges judges = make_judges(kCells);
  int reads = 0;
  ImageStream real = stream_of_tensor(some_images(70));
  real.read = [&reads, read = real.read](std::int64_t first, std::int64_t n) {
    ++reads;
    return read(first, n);
  };
  const Reference first = reference_of_images(real, judges, {});
  const int needed = reads;
  const Reference second = reference_of_images(real, judges, {});
  CHECK(reads == needed);
  CHECK(flat_state(second.state)[1].second.equal(flat_state(first.state)[1].second));
  for (const auto& entry : fs::directory_iterator(cache.path() / "references")) write_file(entry.path(), "damaged");
  reference_of_images(real, judges, {});
  CHECK(reads == 2 * needed);
  ImageStream other = real;
  other.identity.set("name", "another");
  reference_of_images(other, judges, {});
  CHECK(reads == 3 * needed);
}

TEST_CASE("the cache of references keeps to its size and drops the least recently used first") {
  const CacheFolder cache;
  const fs::path folder = cache.path() / "references";
  const Judges judges = make_judges(kCells);
  const auto use = [&](const std::string& name) {
    reference_of_images(stream_of_tensor(some_images(70), name), judges, {});
  };
  const auto count = [&] { return std::distance(fs::directory_iterator(folder), fs::directory_iterator()); };
  const auto now = fs::file_time_type::clock::now();
  /// The existing files, as if they had been used hours ago.
  const auto age = [&](int hours) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.last_write_time() > now - std::chrono::minutes(30))
        fs::last_write_time(entry.path(), now - std::chrono::hours(hours));
    }
  };
  use("a");
  REQUIRE(count() == 1);
  const fs::path a = fs::directory_iterator(folder)->path();
  const std::uintmax_t bytes = fs::file_size(a);
  age(3);
  use("b");
  age(2);
  use("a");  // now the most recently used
  write_file(folder / "notes.safetensors", std::string(3 * bytes, 'x'));
  fs::last_write_time(folder / "notes.safetensors", now - std::chrono::hours(9));
  CHECK(count() == 3);
  ::setenv("CASDM_CACHE_SIZE", std::to_string(2 * bytes + bytes / 2).c_str(), 1);
  const std::string said = stderr_of([&] { use("c"); });
  CHECK_MESSAGE(contains(said, "1 file that was not used for the longest is removed"), said);
  CHECK(count() == 3);
  CHECK(fs::exists(a));
  CHECK(fs::exists(folder / "notes.safetensors"));  // not part of the cache
  ::setenv("CASDM_CACHE_SIZE", "0", 1);
  use("d");
  CHECK(count() == 3);
  for (const char* bad : {"much", "-5", "1.5"}) {
    ::setenv("CASDM_CACHE_SIZE", bad, 1);
    CHECK_THROWS_WITH_AS(use("e"), doctest::Contains("CASDM_CACHE_SIZE"), ConfigError);
  }
  ::unsetenv("CASDM_CACHE_SIZE");
}
