#include "framework/sampling/sample_folder.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "casdm/error.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"
#include "support/components.h"
#include "support/messages.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kBatch = 4;

Sampling sampling(std::int64_t count = 10, std::int64_t seed = 0, bool with_pngs = true) {
  Sampling result;
  result.count = count;
  result.image_size = 8;
  result.with_pngs = with_pngs;
  result.label = [](std::int64_t index) { return index % 3; };
  const auto table = [](Value::Table members) { return Value(std::move(members)); };
  result.origin =
      table({{"run", "runs/a"}, {"checkpoint", table({{"path", "runs/a/checkpoints/000000000008"}, {"images", 8}})}});
  result.settings = table({{"program", "casdm test"},
                           {"sampler", table({{"type", "mine/steps"}, {"eta", 0.5}})},
                           {"seed", seed},
                           {"images", count},
                           {"png", with_pngs}});
  return result;
}

/// The images for a seed from `first` on, as a model would draw them.
at::Tensor drawn(std::int64_t first, std::int64_t count, std::int64_t seed = 0) {
  return (at::arange(first * 192, (first + count) * 192, at::kLong) * (seed + 1))
      .remainder(253)
      .to(at::kByte)
      .reshape({count, 3, 8, 8});
}

/// Draws at most `batches` batches of the images that the folder lacks. Returns the remark.
std::string draw(const fs::path& path, const Sampling& said, bool overwrite = false, int batches = 100) {
  const std::int64_t seed = said.settings.find("seed")->as_integer();
  SampleFolder folder(path);
  const std::string remark = folder.begin(said, overwrite);
  while (folder.images() < said.count && !folder.is_complete() && batches-- > 0) {
    folder.add(drawn(folder.images(), std::min(kBatch, said.count - folder.images()), seed));
  }
  if (folder.images() == said.count && !folder.is_complete()) folder.finish();
  return remark;
}

/// Name and content of every file.
std::map<std::string, std::string> files(const fs::path& folder) {
  std::map<std::string, std::string> result;
  for (const auto& entry : fs::directory_iterator(folder))
    result[entry.path().filename().string()] = read_file(entry.path());
  return result;
}

void refuses(const fs::path& path, const Sampling& said, bool overwrite, const std::vector<std::string>& expected) {
  const auto before = files(path);
  std::string message = "nothing was thrown";
  try {
    draw(path, said, overwrite);
  } catch (const ConfigError& error) {
    message = error.what();
  }
  for (const std::string& part : expected) CHECK_MESSAGE(message.find(part) != std::string::npos, message);
  CHECK(files(path) == before);
}

}  // namespace

TEST_CASE("a sampling interrupted after any batch ends like an uninterrupted one, file by file and bit by bit") {
  const TemporaryFolder folder;
  draw(folder.path() / "whole", sampling());
  const auto whole = files(folder.path() / "whole");
  CHECK(whole.size() == 13);
  for (const int batches : {0, 1, 2, 3}) {
    const fs::path path = folder.path() / std::to_string(batches);
    draw(path, sampling(), false, batches);
    CHECK(fs::exists(path) == (batches > 0));
    const std::string remark = draw(path, sampling());
    CHECK((remark.find("continuing after") != std::string::npos) == (batches == 1 || batches == 2));
    CHECK(files(path) == whole);
  }
}

TEST_CASE("leftovers of an unrecorded batch, and losses in a recorded one, are repaired after a crash") {
  const TemporaryFolder folder;
  draw(folder.path() / "whole", sampling());
  const auto whole = files(folder.path() / "whole");
  const fs::path path = folder.path() / "cut";
  draw(path, sampling(), false, 2);
  fs::remove(path / "000001.png");
  write_file(path / "000003.png", whole.at("000003.png").substr(0, 20));
  write_file(path / "000004.png", std::string(400, '\0'));
  write_file(path / "000005.png", "");
  write_file(path / "000009.png", whole.at("000009.png").substr(0, 200));  // of the batch that was not counted
  draw(path, sampling());
  CHECK(files(path) == whole);
  // Recorded images that are missing are drawn again.
  for (const bool is_removed : {true, false}) {
    const fs::path damaged = folder.path() / (is_removed ? "removed" : "altered");
    draw(damaged, sampling(), false, 2);
    if (is_removed) {
      fs::remove(damaged / "samples.npz.part");
    } else {
      std::string content = read_file(damaged / "samples.npz.part");
      content.at(400) ^= 1;
      write_file(damaged / "samples.npz.part", content);
    }
    CHECK(draw(damaged, sampling()).find("drawing from the beginning") != std::string::npos);
    CHECK(files(damaged) == whole);
  }
}

TEST_CASE("a sampling that ended before it was marked complete is complete, and stays unchanged") {
  const TemporaryFolder folder;
  draw(folder.path(), sampling());
  const auto whole = files(folder.path());
  std::string record = whole.at("sampling.json");
  const std::size_t at = record.find("\"drawn\"");
  REQUIRE(at != std::string::npos);
  write_file(folder.path() / "sampling.json",
             record.substr(0, at) + R"("drawn": {"images": 10, "crc32": 0, "complete": false}})");
  CHECK(draw(folder.path(), sampling()).find("complete: 10 images") != std::string::npos);
  CHECK(files(folder.path()) == whole);
  CHECK(draw(folder.path(), sampling()).find("complete: 10 images") != std::string::npos);
  CHECK(files(folder.path()) == whole);
  fs::remove(folder.path() / "000004.png");
  refuses(folder.path(), sampling(), false, {"000004.png", "missing", "--overwrite"});
}

TEST_CASE("a complete sampling whose files were altered is not called complete, and the files are named") {
  const TemporaryFolder folder;
  draw(folder.path() / "whole", sampling());
  const auto whole = files(folder.path() / "whole");
  const auto damaged = [&](const std::string& name, const std::string& content, const std::string& record) {
    CAPTURE(name);
    const fs::path path = folder.path() / "damaged";
    fs::create_directory(path);
    for (const auto& [file, original] : whole) write_file(path / file, file == name ? content : original);
    write_file(path / "sampling.json", record);
    refuses(path, sampling(), false, {"was complete, but now " + name + " is damaged or altered", "--overwrite"});
    CHECK(draw(path, sampling(), true).empty());
    CHECK(files(path) == whole);
    fs::remove_all(path);
  };
  std::string record = whole.at("sampling.json");
  // As version 0.1 wrote it, without a checksum.
  const std::string old = record.substr(0, record.find("\"drawn\"")) + R"("drawn": {"complete": true}})";
  for (const std::string& said : {record, old}) {
    for (const char* name : {"samples.npz", "000003.png", "grid.png"}) {
      const std::string content = whole.at(name);
      damaged(name, content.substr(0, content.size() / 2), said);
      damaged(name, "", said);
    }
    damaged("000003.png", whole.at("000004.png"), said);
    damaged("grid.png", whole.at("000004.png"), said);
    std::string npz = whole.at("samples.npz");
    npz.at(400) ^= 1;  // a pixel
    damaged("samples.npz", npz, said);
  }
  std::string npz = whole.at("samples.npz");
  npz.at(npz.size() - 300) ^= 1;  // the metadata about how the images were made
  damaged("samples.npz", npz, record);
  // A program that recompresses PNGs keeps their pixels.
  const fs::path packed = folder.path() / "packed";
  fs::copy(folder.path() / "whole", packed);
  write_file(packed / "000003.png", encode_png(to_image(drawn(3, 1)[0])));
  CHECK(draw(packed, sampling()).find("complete: 10 images") != std::string::npos);
  for (const char* name : {"000001.png", "000002.png", "000005.png", "000007.png"}) write_file(packed / name, "");
  fs::remove(packed / "grid.png");
  refuses(packed, sampling(), false,
          {"grid.png is missing, and 000001.png, 000002.png, 000005.png and 1 more are damaged"});
}

TEST_CASE("another sampling in the folder is refused with the differences") {
  const TemporaryFolder folder;
  draw(folder.path(), sampling(10, 0), false, 1);
  refuses(folder.path(), sampling(12, 5), false,
          {"another sampling, unfinished", "seed: 0 there, 5 now", "images: 10 there, 12 now", "--overwrite"});
  Sampling other = sampling();
  other.settings.find("sampler")->set("eta", 0.25);
  refuses(folder.path(), other, false, {"sampler.eta: 0.5 there, 0.25 now"});
}

TEST_CASE("--overwrite removes the earlier sampling's files, and no others") {
  const TemporaryFolder folder;
  write_file(folder.path() / "notes.txt", "mine");
  draw(folder.path(), sampling(10, 0));
  draw(folder.path(), sampling(6, 1), true);
  std::set<std::string> names;
  for (const auto& [name, content] : files(folder.path())) names.insert(name);
  CHECK(names == std::set<std::string>{"000000.png", "000001.png", "000002.png", "000003.png", "000004.png",
                                       "000005.png", "grid.png", "notes.txt", "samples.npz", "sampling.json"});
  // An image whose number is beyond the earlier sampling does not belong to it.
  write_file(folder.path() / "000006.png", "mine");
  refuses(folder.path(), sampling(4, 2), true, {"000006.png", "sampling.json does not account for", "move them away"});
  fs::remove(folder.path() / "000006.png");
  // Nor does what somebody has put in the place of one, unless it is the empty file that a power cut leaves.
  write_file(folder.path() / "000001.png", "mine");
  refuses(folder.path(), sampling(4, 2), true, {"000001.png", "or which was changed since", "move them away"});
  CHECK(read_file(folder.path() / "000001.png") == "mine");
  write_file(folder.path() / "000001.png", "");
  draw(folder.path(), sampling(2, 2, false), true);
  CHECK(files(folder.path()).size() == 4);
}

TEST_CASE("what somebody has put in the place of a file of samples is never replaced") {
  const TemporaryFolder folder;
  draw(folder.path() / "whole", sampling());
  const auto whole = files(folder.path() / "whole");
  const std::string picture = encode_png(to_image(drawn(3, 1)[0]));
  std::string retouched = whole.at("000004.png");  // it still says that it is ours
  NpzFile own(folder.path() / "own.npz", 2, 3, 8);
  own.start();
  own.append(drawn(0, 2));
  own.finish({}, "notes", "mine");
  const std::string samples = read_file(folder.path() / "own.npz");
  for (const bool overwrite : {false, true}) {
    for (const auto& [name, content] : {std::pair<std::string, std::string>{"000003.png", "mine"},
                                        {"000004.png", picture},
                                        {"000003.png", retouched},
                                        {"000009.png", picture},
                                        {"grid.png", picture},
                                        {"samples.npz", samples}}) {
      CAPTURE(name);
      const fs::path path = folder.path() / "cut";
      draw(path, sampling(), false, 2);
      write_file(path / name, content);
      refuses(path, sampling(), overwrite, {name, "changed since", "move"});
      fs::remove_all(path);
    }
  }
  write_file(folder.path() / "whole/samples.npz", samples);
  refuses(folder.path() / "whole", sampling(), false, {"samples.npz is damaged or altered"});
  refuses(folder.path() / "whole", sampling(), true, {"samples.npz", "changed since", "move them away"});
}

TEST_CASE("--overwrite continues an unfinished sampling of the same settings, and draws a complete one again") {
  const TemporaryFolder folder;
  draw(folder.path() / "whole", sampling());
  const fs::path path = folder.path() / "cut";
  draw(path, sampling(), true, 2);
  CHECK(draw(path, sampling(), true).find("continuing after") != std::string::npos);
  CHECK(files(path) == files(folder.path() / "whole"));
  CHECK(draw(path, sampling(), true).empty());
  draw(folder.path() / "other", sampling(10, 1), true, 2);
  CHECK(draw(folder.path() / "other", sampling(), true).empty());
  CHECK(files(folder.path() / "other") == files(folder.path() / "whole"));
}

TEST_CASE("the earlier sampling stays until its replacement begins") {
  const TemporaryFolder folder;
  draw(folder.path(), sampling(6, 0));
  const auto before = files(folder.path());
  draw(folder.path(), sampling(6, 1), true, 0);
  CHECK(files(folder.path()) == before);
}

TEST_CASE("images that no sampling.json accounts for are never mixed in or silently overwritten") {
  const TemporaryFolder folder;
  write_file(folder.path() / "000002.png", "mine");
  refuses(folder.path(), sampling(2), false, {"000002.png", "no sampling.json accounts for", "move them away"});
  CHECK(message_of<ConfigError>([&] { draw(folder.path(), sampling(2)); }).find("--overwrite") == std::string::npos);
  refuses(folder.path(), sampling(2), true, {"000002.png", "move them away"});
  // Nor does --overwrite replace what does not belong to a sampling.
  refuses(folder.path(), sampling(3), true, {"000002.png", "move them away"});
  fs::remove(folder.path() / "000002.png");
  for (const char* name : {"grid.png", "samples.npz"}) {
    write_file(folder.path() / name, "mine");
    refuses(folder.path(), sampling(3), true, {name, "move them away"});
    fs::remove(folder.path() / name);
  }
  // Samples whose sampling.json is gone can be replaced by the same number.
  draw(folder.path(), sampling(3));
  fs::remove(folder.path() / "sampling.json");
  refuses(folder.path(), sampling(3), false, {"000000.png", "pass --overwrite to replace those"});
  draw(folder.path(), sampling(3, 1), true);
  CHECK(files(folder.path()).size() == 6);
  draw(folder.path(), sampling(3), true);

  write_file(folder.path() / "sampling.json", "{\"format\": 1");
  refuses(folder.path(), sampling(3), false, {"sampling.json\" cannot be used", "--overwrite"});
  draw(folder.path(), sampling(3), true);
  CHECK(files(folder.path()).size() == 6);
  refuses(folder.path(), sampling(2), false, {"another sampling:\n"});
  CHECK_THROWS_WITH_AS(SampleFolder(folder.path() / "grid.png"), doctest::Contains("is not a folder"), ConfigError);
}

TEST_CASE("nothing is drawn into a folder of other images") {
  for (const char* name : {"0001.png", "cat.JPG", "dog.webp"}) {
    const TemporaryFolder folder;
    write_file(folder.path() / name, "mine");
    for (const bool overwrite : {false, true}) {
      refuses(folder.path(), sampling(2), overwrite, {name, "no sampling.json accounts for", "move them away"});
    }
    CHECK(files(folder.path()).size() == 1);
  }
  // Images that somebody puts beside samples later are nobody's mistake.
  const TemporaryFolder folder;
  draw(folder.path(), sampling(3), false, 1);
  write_file(folder.path() / "mine.png", "mine");
  draw(folder.path(), sampling(3));
  CHECK(files(folder.path()).contains("samples.npz"));
}

TEST_CASE("two processes cannot draw into one folder") {
  const TemporaryFolder folder;
  SampleFolder first(folder.path() / "s");
  first.begin(sampling(), false);
  SampleFolder second(folder.path() / "s");
  CHECK_THROWS_WITH_AS(second.begin(sampling(), false), doctest::Contains("another process is drawing into"), Error);
  first.add(drawn(0, kBatch));
  CHECK(SampleFolder(folder.path() / "s").unfinished_checkpoint(SampleFolder::Source::run) == "000000000008");
  CHECK(SampleFolder(folder.path() / "s").unfinished_checkpoint(SampleFolder::Source::best).empty());
}

TEST_CASE("each image says how it was made, and so does the NPZ") {
  const TemporaryFolder folder;
  draw(folder.path(), sampling());
  const std::string image = read_file(folder.path() / "000004.png");
  for (const char* part : {"tEXtSoftware", "casdm test", "tEXtcasdm", R"("run":"runs/a")", R"("seed":0)",
                           R"("eta":0.5)", R"("index":4)", R"("label":1)", "000000000008"}) {
    CHECK_MESSAGE(image.find(part) != std::string::npos, part);
  }
  CHECK(read_file(folder.path() / "grid.png").find(R"("seed":0)") != std::string::npos);
  const std::string npz = read_file(folder.path() / "samples.npz");
  CHECK(npz.find("sampling.json") != std::string::npos);
  CHECK(npz.find("\"settings\": {") != std::string::npos);
}

TEST_CASE("a sampling whose folder was moved writes nothing into the one that took its name") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "a", moved = folder.path() / "b", other = folder.path() / "c";
  draw(other, sampling(10, 1));
  SampleFolder first(path);
  first.begin(sampling(), false);
  first.add(drawn(0, kBatch));
  fs::rename(path, moved);
  fs::rename(other, path);
  const auto before = files(path);
  CHECK_THROWS_WITH_AS(first.add(drawn(kBatch, kBatch)), doctest::Contains("b\" while images were drawn into it"),
                       Error);
  CHECK_THROWS_AS(first.finish(), Error);
  CHECK(files(path) == before);
}
