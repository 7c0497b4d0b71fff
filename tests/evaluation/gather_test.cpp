#include "framework/evaluation/gather.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"
#include "evaluation/judging.h"
#include "framework/data/image_transform.h"
#include "framework/evaluation/record.h"
#include "framework/evaluation/stored_images.h"
#include "framework/support/files.h"
#include "support/captured.h"
#include "support/components.h"
#include "support/messages.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

bool are_equal(const SetState& a, const SetState& b) {
  const NamedTensors flat_a = flat_state(a), flat_b = flat_state(b);
  if (a.images != b.images || flat_a.size() != flat_b.size()) return false;
  for (std::size_t i = 0; i < flat_a.size(); ++i) {
    if (flat_a[i].first != flat_b[i].first || !flat_a[i].second.equal(flat_b[i].second)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a set that was interrupted ends with the same bits as one that was not") {
  const TemporaryFolder folder;
  const Judges judges = make_judges(kCells);
  const ImageStream stream = stream_of_tensor(some_images(200));
  const JudgedSet whole = gather(stream, judges, {});
  GatherOptions options;
  options.state_file = folder.path() / "set.state";
  int looks = 0;
  options.is_cancelled = [&] { return ++looks > 2; };
  CHECK_THROWS_AS(gather(stream, judges, options), EvaluationStopped);
  REQUIRE(fs::exists(options.state_file));
  options.is_cancelled = {};
  std::int64_t first_read = -1;
  ImageStream watched = stream;
  watched.read = [&](std::int64_t first, std::int64_t n) {
    if (first_read < 0) first_read = first;
    return stream.read(first, n);
  };
  const JudgedSet resumed = gather(watched, judges, options);
  CHECK(first_read == 128);
  CHECK(are_equal(whole.state, resumed.state));
  CHECK(whole.of_one_colour == resumed.of_one_colour);
}

TEST_CASE("a set whose state cannot be stored is judged all the same, and an interruption says so") {
  const TemporaryFolder folder;
  const Judges judges = make_judges(kCells);
  const ImageStream stream = stream_of_tensor(some_images(200));
  write_file(folder.path() / "file", "");
  for (const fs::path& state : {folder.path() / "file" / "set.state", fs::path("/dev/full/set.state")}) {
    GatherOptions options;
    options.state_file = state;
    std::int64_t left = 2;
    options.is_cancelled = [&] { return --left < 0; };
    std::string message;
    try {
      gather(stream, judges, options);
    } catch (const EvaluationStopped& stopped) {
      message = stopped.what();
    }
    CHECK_MESSAGE(contains(message, "stopped after 128 of 200 images, and these are not kept: "), message);
  }
}

TEST_CASE("the state of other images or judges, and an altered one, are refused") {
  const TemporaryFolder folder;
  GatherOptions options;
  options.state_file = folder.path() / "set.state";
  int looks = 0;
  options.is_cancelled = [&] { return ++looks > 1; };
  const Judges judges = make_judges(kCells);
  const at::Tensor images = some_images(100);
  CHECK_THROWS_AS(gather(stream_of_tensor(images), judges, options), EvaluationStopped);
  options.is_cancelled = {};
  CHECK_THROWS_AS(gather(stream_of_tensor(images, "others"), judges, options), ConfigError);
  const Judges others =
      make_judges("judges = [{ type = \"cells\", resize = \"bilinear\", metrics = [{ type = \"moments_gap\" }] }]");
  CHECK_THROWS_AS(gather(stream_of_tensor(images), others, options), ConfigError);
  std::string bytes = read_file(options.state_file);
  bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 1);
  write_file(options.state_file, bytes);
  const std::string message = message_of([&] { gather(stream_of_tensor(images), judges, options); });
  CHECK_MESSAGE(contains(message, "is altered"), message);
  CHECK_MESSAGE(contains(message, "If " + options.state_file.string() + " is from an earlier evaluation, remove it"),
                message);
  write_safetensors(options.state_file, {{"weight", images}});
  CHECK(message_of<ConfigError>([&] { gather(stream_of_tensor(images), judges, options); }) ==
        options.state_file.string() + " is not the state of an evaluation; choose another --state");
}

TEST_CASE("images of a single colour, and a set of identical images, are noticed and reported") {
  const Judges judges = make_judges(kCells);
  at::Tensor images = some_images(70);
  images[3].fill_(7);
  images[69].fill_(255);
  const JudgedSet some = gather(stream_of_tensor(images), judges, {});
  CHECK(some.of_one_colour == 2);
  CHECK_FALSE(some.are_all_equal);
  const JudgedSet equal = gather(stream_of_tensor(images.slice(0, 0, 1).expand({70, 3, 16, 16})), judges, {});
  CHECK(equal.are_all_equal);
  const std::vector<std::string> said = warnings_of(equal, {}, judges, {}, {});
  CHECK(std::find(said.begin(), said.end(), "all 70 images are the same") != said.end());
}

TEST_CASE("a feature that is not finite is refused with the image") {
  const Judges judges =
      make_judges("judges = [{ type = \"cells\", fault = \"not_a_number\", metrics = [{ type = \"moments_gap\" }] }]");
  const std::string message = message_of([&] { gather(stream_of_tensor(some_images(3)), judges, {}); });
  CHECK_MESSAGE(contains(message, "feature \"quarters\" of image 0 is not finite"), message);
}

TEST_CASE("what a metric of moments returns or changes is checked and named") {
  const auto message = [](const std::string& fault) {
    return message_of([&] {
      const Judges judges = make_judges("judges = [{ type = \"cells\", metrics = [{ type = \"faulty_gap\", fault = \"" +
                                        fault + "\" }] }]");
      const SetState set = gather(stream_of_tensor(some_images(3)), judges, {}).state;
      state_of(judges.metrics()[0], moments_of(judges.metrics()[0], set.metrics[0]));
    });
  };
  CHECK(message("none").find("fail") == std::string::npos);
  for (const auto& [fault, expected] :
       {std::pair("moments_in_place", "it changed the state that it was given"),
        std::pair("moments_nan", "moments() did not return a finite float64 mean"),
        std::pair("from_in_place", "it changed the moments that it was given"),
        std::pair("from_empty", "from_moments() left a state without tensors"),
        std::pair("from_fewer", "from_moments() left a state of count, sum; start()")}) {
    const std::string said = message(fault);
    CHECK_MESSAGE(contains(said, std::string("judging/faulty_gap: ") + expected), said);
  }
}

TEST_CASE("what judges and their metrics return or change is checked and named") {
  const auto message = [](const std::string& judge, const std::string& metric) {
    return message_of([&] {
      const Judges judges = make_judges("judges = [{ type = \"cells\", fault = \"" + judge +
                                        "\", metrics = [{ type = \"faulty_gap\", fault = \"" + metric + "\" }] }]");
      const SetState set = gather(stream_of_tensor(some_images(3)), judges, {}).state;
      judges.compare(set, gather(stream_of_tensor(some_images(4)), judges, {}).state);
    });
  };
  CHECK(message("none", "none").find("fail") == std::string::npos);
  for (const auto& [judge, metric, expected] :
       {std::tuple("none_declared", "none", "judging/cells: it declares no feature"),
        std::tuple("no_dimension", "none", "judging/cells: its feature \"quarters\" has the dimension -3"),
        std::tuple("undefined", "none", "judging/cells: buffers() returned an undefined tensor as \"blur\""),
        std::tuple("meta", "none", "extract() of \"quarters\" returned Float [3, 12] on meta; expected floating point"),
        std::tuple("changes", "none", "judging/cells: it changed the images"),
        std::tuple("none", "changes", "judging/faulty_gap: it changed features"),
        std::tuple("none", "changes_set", "judging/faulty_gap: it changed the state of the images"),
        std::tuple("none", "changes_reference", "judging/faulty_gap: it changed the state of the reference"),
        std::tuple("none", "loses", "judging/faulty_gap: update() left a state without tensors"),
        std::tuple("none", "renames", "judging/faulty_gap: update() left a state of renamed, "),
        std::tuple("none", "empty", "judging/faulty_gap: start() left a state without tensors"),
        std::tuple("none", "name", "judging/faulty_gap: it declares a score \"gap\\nfake\""),
        std::tuple("none", "error",
                   "judging/faulty_gap: compare() returned the standard error -0.25 of \"overlap\"")}) {
    const std::string said = message(judge, metric);
    CHECK_MESSAGE(contains(said, expected), said);
  }
}

TEST_CASE("names of judges and metrics that cannot be shown are refused") {
  for (const char* judge : {"name = \"a\\nb\", metrics = [{ type = \"moments_gap\" }]",
                            "metrics = [{ type = \"moments_gap\", name = \"\\u001b\" }]"}) {
    CHECK_THROWS_WITH_AS(make_judges(text("judges = [{ type = \"cells\", ", judge, " }]")),
                         doctest::Contains("expected a name that can be shown"), ConfigError);
  }
}

TEST_CASE("scores are named after their judge, and duplicate names are refused") {
  const std::string metric = "metrics = [{ type = \"moments_gap\" }]";
  const Judges named = make_judges("judges = [{ type = \"cells\", name = \"mine\", " + metric + " }]");
  CHECK(named.metrics()[0].score_names == std::vector<std::string>{"mine.gap", "mine.overlap"});
  CHECK(named.is_lower_better("mine.gap"));
  CHECK_FALSE(named.is_lower_better("mine.overlap"));
  CHECK_THROWS_AS(named.is_lower_better("mine.gat"), ConfigError);
  const Judges prefixed = make_judges(
      "judges = [{ type = \"cells\", metrics = [{ type = \"moments_gap\", name = \"a\" }, { type = \"moments_gap\" }] "
      "}]");
  CHECK(prefixed.metrics()[0].score_names[0] == "cells.a.gap");
  CHECK(prefixed.metrics()[1].score_names[0] == "cells.gap");
  const std::string twice = "judges = [{ type = \"cells\", " + metric + " }, { type = \"cells\", " + metric + " }]";
  CHECK_THROWS_AS(make_judges(twice), ConfigError);
  const std::string unknown = "judges = [{ type = \"cells\", feature = \"pool\", " + metric + " }]";
  const std::string message = message_of([&] { make_judges(unknown); });
  CHECK_MESSAGE(contains(message, "no feature \"pool\"; it has quarters, map"), message);
}

TEST_CASE("judges with the same extractor share its network") {
  const std::string metric = "metrics = [{ type = \"moments_gap\" }]";
  const Judges judges =
      make_judges("judges = [{ type = \"cells\", " + metric + " }, { type = \"cells\", name = \"b\", " + metric +
                  " }, { type = \"cells\", name = \"c\", resize = \"bilinear\", " + metric + " }]");
  CHECK(judges.judges()[1].network == judges.judges()[0].network);
  CHECK(judges.judges()[2].network != judges.judges()[0].network);
}

TEST_CASE("too few images for a metric are refused with the number there is") {
  const Judges judges = make_judges(kCells);
  CHECK_NOTHROW(judges.require_enough(2, 0));
  CHECK_THROWS_AS(judges.require_enough(1, 10), ConfigError);
  CHECK_THROWS_AS(judges.require_enough(10, 1), ConfigError);
}

TEST_CASE("few images for a metric of moments are reported, by the features and by published numbers") {
  const Judges judges = make_judges(kCells);
  const auto said = [&](std::int64_t count, std::int64_t reference_count) {
    JudgedSet set;
    set.state.images = count;
    set.are_all_equal = false;
    Reference reference;
    reference.images = reference_count;
    const std::vector<std::string> warnings = warnings_of(set, reference, judges, {}, {});
    return warnings.empty() ? std::string() : warnings.front();
  };
  CHECK(contains(said(12, 60000), "12 images are no more than the 12 features"));
  CHECK(contains(said(100, 12), "12 images of the reference are no more than the 12 features"));
  CHECK(contains(said(49999, 60000), "published scores are of 50,000"));
  CHECK(said(50000, 60000).empty());
}

TEST_CASE("halves share no image, have equal sizes, and depend only on the seed") {
  const auto [one, other] = halves(11, 3);
  CHECK(one.size() == 5);
  CHECK(other.size() == 5);
  std::vector<std::int64_t> common;
  std::set_intersection(one.begin(), one.end(), other.begin(), other.end(), std::back_inserter(common));
  CHECK(common.empty());
  CHECK(halves(11, 3) == std::array{one, other});
  CHECK(halves(11, 4) != std::array{one, other});
}

TEST_CASE("indices are spread evenly, and a request for more than there are is refused") {
  CHECK(spread(3, 9, "--num", "x") == std::vector<std::int64_t>{0, 3, 6});
  CHECK(spread(0, 3, "--num", "x") == std::vector<std::int64_t>{0, 1, 2});
  CHECK_THROWS_AS(spread(4, 3, "--num", "x"), ConfigError);
}

TEST_CASE("floating-point images are judged as the nearest 8-bit pixels, like samples") {
  class Floats final : public Dataset {
   public:
    explicit Floats(float shift) : shift_(shift) {}
    std::int64_t size() const override { return 2; }
    bool is_floating_point() const override { return true; }
    std::string describe(std::int64_t) const override { return "made"; }
    Example get(std::int64_t index) const override {
      Example example{.image = {16, 16, 3, {}}};
      for (int i = 0; i < 16 * 16 * 3; ++i) {
        const auto pixel = static_cast<float>((i + index) % 256);
        example.image.values.push_back(std::clamp((pixel + shift_) / 127.5f - 1, -1.0f, 1.0f));
      }
      return example;
    }

   private:
    float shift_;
  };
  DataOptions options;
  options.image_size = 16;
  const auto exact = images_of_data(options, std::make_shared<Floats>(0.0f));
  for (const float shift : {0.0f, 0.4f, 0.9f, -0.4f}) {
    CAPTURE(shift);
    const auto images = images_of_data(options, std::make_shared<Floats>(shift));
    for (std::int64_t i = 0; i < 2; ++i) {
      const at::Tensor read = images->read(i);
      CHECK((read.scalar_type() == at::kByte));
      const at::Tensor pixels = (at::arange(16 * 16 * 3) + i).remainder(256).reshape({16, 16, 3}).permute({2, 0, 1});
      CHECK(read.equal((pixels - (shift < 0 ? 1 : 0)).clamp_min(0).to(at::kByte)));
      if (shift != 0) CHECK(read.equal(to_uint8((pixels.to(at::kFloat) + shift) / 127.5 - 1)));
    }
  }
  CHECK(exact->identity().find("truncated") != nullptr);
}

TEST_CASE(
    "the identity of images is the same whatever a training does with them, and another if they are read otherwise") {
  struct Grey final : Dataset {
    std::int64_t size() const override { return 2; }
    std::string describe(std::int64_t) const override { return "made"; }
    Example get(std::int64_t) const override {
      return {.image = {16, 16, 3, std::vector<std::uint8_t>(16 * 16 * 3, 99)}};
    }
  };
  const auto identity_with = [](const std::string& key, const Value& value) {
    Value table = write_options(DataOptions());
    table.set("type", "made");
    table.set("image_size", 16);
    table.set("turned", false);
    table.set(key, value);
    return images_of_data(read_options<DataOptions>(table), std::make_shared<Grey>())->identity();
  };
  const Value plain = identity_with("type", "made");
  const std::pair<std::string, Value> of_training[] = {{"random_flip", true},     {"workers", 1},
                                                       {"cache", "never"},        {"label_dropout", 0.5},
                                                       {"skip_unreadable", true}, {"use_labels", true}};
  for (const auto& [key, value] : of_training) {
    CAPTURE(key);
    CHECK(identity_with(key, value) == plain);
  }
  CHECK_FALSE(identity_with("turned", true) == plain);
  CHECK_FALSE(identity_with("image_size", 8) == plain);
}

TEST_CASE("features are right where an extractor uses the memory of its results again") {
  const auto features = [](const std::string& fault, std::int64_t first) {
    const Judges judges = make_judges("judges = [{ type = \"cells\", fault = \"" + fault +
                                      "\", metrics = [{ type = \"moments_gap\" }] }]");
    const Tensor found = judges.features_of(0, some_images(12).slice(0, first), 0);
    judges.features_of(0, some_images(4, 2), 0);
    return found;
  };
  for (const std::int64_t first : {0, 8}) {  // in several calls, and in one
    CHECK(features("reused_memory", first).equal(features("none", first)));
  }
}

TEST_CASE("judges compute in IEEE float32 where the networks of a run may use TF32, which they may again afterwards") {
  constexpr at::Float32Op kOps[] = {at::Float32Op::CONV, at::Float32Op::MATMUL};
  at::Context& context = at::globalContext();
  const auto allow = [&](at::Float32Precision precision) {
    for (const at::Float32Op op : kOps) context.setFloat32Precision(at::Float32Backend::CUDA, op, precision);
  };
  const Judges judges =
      make_judges("judges = [{ type = \"cells\", shows_tf32 = true, metrics = [{ type = \"moments_gap\" }] }]");
  const auto feature = [&] { return judges.features_of(0, some_images(2), 0).max().item<float>(); };
  allow(at::Float32Precision::TF32);
  CHECK(feature() == 0);
  const JudgedSet in_tf32 = gather(stream_of_tensor(some_images(40)), judges, {});
  for (const at::Float32Op op : kOps) {
    CHECK((context.float32Precision(at::Float32Backend::CUDA, op) == at::Float32Precision::TF32));
  }
  allow(at::Float32Precision::IEEE);
  CHECK(feature() == 0);
  CHECK(are_equal(in_tf32.state, gather(stream_of_tensor(some_images(40)), judges, {}).state));
}

TEST_CASE("images that cannot be read are left out, if the experiment skips them, and no other one counts twice") {
  class SomeDamaged final : public Dataset {
   public:
    std::int64_t size() const override { return 9; }
    std::string describe(std::int64_t index) const override { return text("image ", index); }
    Example get(std::int64_t index) const override {
      if (index % 3 == 1) throw Error("it ends too early");
      return {.image = {4, 4, 3, std::vector<std::uint8_t>(48, static_cast<std::uint8_t>(index))}};
    }
  };
  DataOptions options;
  options.image_size = 4;
  options.skip_unreadable = true;
  std::shared_ptr<StoredImages> images;
  const std::string said = stderr_of([&] { images = images_of_data(options, std::make_shared<SomeDamaged>()); });
  CHECK_MESSAGE(said.find("left out 3 of 9 images") != std::string::npos, said);
  CHECK_MESSAGE(said.find("image 1") != std::string::npos, said);
  REQUIRE(images->size() == 6);
  const std::vector<int> expected = {0, 2, 3, 5, 6, 8};
  for (std::int64_t i = 0; i < 6; ++i) CHECK(images->read(i)[0][0][0].item<int>() == expected[i]);
  CHECK(numbers_in_data(*images, {0, 1, 5}) == std::vector<std::int64_t>{0, 2, 8});
  int looks = 0;
  CHECK_THROWS_AS(images_of_data(options, std::make_shared<SomeDamaged>(), [&] { return ++looks == 4; }),
                  EvaluationStopped);
  CHECK(looks == 4);
  options.skip_unreadable = false;
  CHECK_THROWS_AS(images_of_data(options, std::make_shared<SomeDamaged>()), Error);
}
