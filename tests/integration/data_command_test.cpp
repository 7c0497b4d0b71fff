#include <doctest/doctest.h>

#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// `--set data=...` for 20 shapes of five classes.
const std::string kShapes = "--set 'data={type=\"shapes\", num_images=20, image_size=16}'";

const std::string kBrokenParts =
    (fs::path(CASDM_PROGRAM).parent_path().parent_path() / "tests/plugins/parts_broken.so").string();

std::string of_folder(const std::string& more = "") {
  return "--set 'data={type=\"folder\", path=\"images\", labels=\"json\", image_size=16" + more + "}'";
}

/// Makes a folder `images` of the packed shapes, with the archive `shapes.zip`.
void make_images(const fs::path& folder) {
  write_small_config(folder);
  const Outcome packed = shell(
      "casdm data pack small.toml --out shapes.zip " + kShapes + " && python3 -m zipfile -e shapes.zip images", folder);
  REQUIRE_MESSAGE(packed.status == 0, packed.err);
  REQUIRE(contains(packed.out, "shapes.zip\n"));
  REQUIRE(contains(packed.err, "packed 20 images\n"));
}

}  // namespace

TEST_CASE("casdm data inspect counts images, sizes and classes, and draws some") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string emoji = (source_dir() / "examples" / "data" / "emoji32.zip").string();
  const Outcome seen =
      shell("casdm data inspect small.toml --images 100 --grid grid.png --set 'data={type=\"zip\", path=\"" + emoji +
                "\", image_size=48}'",
            folder.path());
  CHECK_MESSAGE(seen.status == 0, seen.err);
  CHECK_MESSAGE(contains(seen.out,
                         "data     1419 images\nread     100 of 1419: all good\nsizes    32 x 32; 100 are "
                         "smaller than 48 and are enlarged\nmemory   10 MiB for all images at 48 x 48, which a "
                         "training keeps (data.cache = \"auto\")\ngrid     grid.png\n"),
                seen.out);
  CHECK(read_file(folder.path() / "grid.png").substr(1, 3) == "PNG");
  const Outcome again = shell("casdm data inspect small.toml --grid grid.png " + kShapes, folder.path());
  CHECK(again.status == 2);
  CHECK_MESSAGE(contains(again.err, "grid.png is there already, and nothing is overwritten"), again.err);

  const Outcome shapes = shell("casdm data inspect small.toml --json " + kShapes, folder.path());
  const Value json = from_json(shapes.out);
  CHECK(json.find("images")->as_integer() == 20);
  CHECK(json.find("class_counts")->as_array().size() == 5);
  CHECK(json.find("unreadable")->as_array().empty());
  CHECK(json.find("bytes")->as_integer() == 20 * 16 * 16 * 3);
}

TEST_CASE("casdm data inspect names the images that cannot be used") {
  const TemporaryFolder folder;
  make_images(folder.path());
  fs::resize_file(folder.path() / "images" / "00000" / "img00000003.png", 60);
  const Outcome seen = shell("casdm data inspect small.toml " + of_folder(), folder.path());
  CHECK(seen.status == 1);
  CHECK_MESSAGE(contains(seen.out, "read     20 of 20: 1 cannot be used\nsizes    16 x 16\nclasses  5 with "),
                seen.out);
  CHECK_MESSAGE(contains(seen.out, "img00000003.png cannot be decoded: "), seen.out);
}

TEST_CASE("casdm data inspect counts no image whose bytes contradict its size") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  for (const auto& [fault, problem] :
       {std::pair("short", "16 x 16 pixels and 3 channels has 767 bytes"),
        std::pair("huge", "4294967296 x 4294967296 pixels and 3 channels has 0 bytes")}) {
    const Outcome seen = shell(text("casdm data inspect small.toml --plugin '", CASDM_TEST_PLUGIN_DIR,
                                    "/parts_broken.so' --set 'data={type=\"faulty_dataset\", fault=\"", fault, "\"}'"),
                               folder.path());
    CHECK(seen.status == 1);
    CHECK_MESSAGE(contains(seen.out, "read     64 of 64: 64 cannot be used\nsizes    none was read\n"), seen.out);
    CHECK_MESSAGE(contains(seen.out, text("grey 0: an image of ", problem)), seen.out);
  }
}

TEST_CASE("what casdm data inspect says about images cannot control the terminal") {
  const TemporaryFolder folder;
  const std::string rude = "\x1b]0;title\x07\nfake: line";
  write_small_config(folder.path());
  fs::create_directory(folder.path() / "images");
  write_file(folder.path() / "images" / (rude + ".png"), "no image");
  const Outcome damaged = shell(
      "casdm data inspect small.toml --set 'data={type=\"folder\", path=\"images\", image_size=16}'", folder.path());
  const Outcome remark = shell(text("casdm data inspect small.toml --plugin '", CASDM_TEST_PLUGIN_DIR,
                                    "/parts_broken.so' --set 'data={type=\"faulty_dataset\", fault=\"rude\"}'"),
                               folder.path());
  for (const Outcome& outcome : {damaged, remark}) {
    CHECK_MESSAGE(contains(outcome.out, "title"), outcome.out << outcome.err);
    CHECK_FALSE(contains(outcome.out + outcome.err, "\nfake"));
    CHECK_FALSE(contains(outcome.out + outcome.err, "\x1b"));
    CHECK_FALSE(contains(outcome.out + outcome.err, "\x07"));
  }
}

TEST_CASE("what casdm data pack writes is read back as the same images and labels") {
  const TemporaryFolder folder;
  make_images(folder.path());
  // The same images give the same bytes: packed from the formula, from the archive, and from its files.
  const Outcome same = shell(
      "casdm data pack small.toml --out a.zip --set 'data={type=\"zip\", path=\"shapes.zip\", image_size=16}' && "
      "casdm data pack small.toml --out b.zip " +
          of_folder() + " && cmp a.zip shapes.zip && cmp b.zip shapes.zip",
      folder.path());
  CHECK_MESSAGE(same.status == 0, same.err << same.out);
  CHECK(!fs::exists(folder.path() / "a.zip.part"));
  const Outcome over = shell("casdm data pack small.toml --out a.zip " + kShapes, folder.path());
  CHECK(over.status == 2);
  CHECK_MESSAGE(contains(over.err, "a.zip is there already, and nothing is overwritten"), over.err);
  for (const std::string verb : {"inspect small.toml ", "pack small.toml --out v.zip "}) {
    const Outcome idle = shell("casdm data " + verb + of_folder(", test_fraction=0.5"), folder.path());
    CHECK(idle.status == 2);
    CHECK_MESSAGE(contains(idle.err, "data.test_fraction: it has no effect with split = \"all\""), idle.err);
  }
  const Outcome nowhere = shell("casdm data pack small.toml --out '' " + kShapes, folder.path());
  CHECK(nowhere.status == 2);
  CHECK_MESSAGE(contains(nowhere.err, "data: --out is empty"), nowhere.err);
  CHECK(!fs::exists(folder.path() / ".part"));
}

TEST_CASE(
    "an invalid image of a data set's plugin is named where it is packed, and where it breaks its promise of labels") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  for (const auto& [fault, words] :
       {std::pair("short",
                  "data: parts_broken/faulty_dataset: grey 0: the data set's plugin did not return a valid image"),
        std::pair("no_such_class",
                  "data: parts_broken/faulty_dataset: grey 0 has the label 7; the data set promises 0 to 2")}) {
    const Outcome packed =
        shell("CASDM_TRUST_PLUGINS=1 casdm data pack small.toml --out " + std::string(fault) + ".zip --plugin " +
                  kBrokenParts + " --set 'data={type=\"faulty_dataset\", image_size=16, fault=\"" + fault + "\"}'",
              folder.path());
    CHECK(packed.status == 1);
    CHECK_MESSAGE(contains(packed.err, words), packed.err);
    CHECK_FALSE(fs::exists(folder.path() / (std::string(fault) + ".zip")));
  }
}

TEST_CASE("packing a part without an image of the last class warns that the archive has fewer classes") {
  const TemporaryFolder folder;
  make_images(folder.path());
  write_file(folder.path() / "relabel.py", R"(import json
data = json.load(open("images/dataset.json"))
data["labels"] = [[name, 4 if i == 0 else label % 3] for i, (name, label) in enumerate(data["labels"])]
json.dump(data, open("images/dataset.json", "w"))
)");
  fs::resize_file(folder.path() / "images" / "00000" / "img00000000.png", 60);  // the only one of class 4
  const Outcome packed =
      shell("python3 relabel.py && casdm data pack small.toml --out a.zip " + of_folder(", skip_unreadable=true"),
            folder.path());
  CHECK_MESSAGE(packed.status == 0, packed.err);
  CHECK_MESSAGE(contains(packed.err,
                         "warning: the data set has 5 classes, and the archive has 3, since no image is "
                         "of a later class"),
                packed.err);
  const Outcome seen = shell(
      "casdm data inspect small.toml --json --set 'data={type=\"zip\", path=\"a.zip\", image_size=16}'", folder.path());
  CHECK(from_json(seen.out).find("class_counts")->as_array().size() == 3);
  const Outcome whole = shell("casdm data pack small.toml --out b.zip " + kShapes, folder.path());
  CHECK_MESSAGE(!contains(whole.err, "warning"), whole.err);
}

TEST_CASE("an interrupted packing continues where it was, and other images are not mixed in") {
  const TemporaryFolder folder;
  make_images(folder.path());
  const fs::path damaged = folder.path() / "images" / "00000" / "img00000012.png", part = folder.path() / "a.zip.part";
  const std::string whole = read_file(damaged);
  fs::resize_file(damaged, 60);
  const std::string pack = "casdm data pack small.toml --out a.zip ";
  const Outcome stopped = shell(pack + of_folder(), folder.path());
  CHECK(stopped.status == 1);
  CHECK_MESSAGE(contains(stopped.err, "img00000012.png cannot be decoded"), stopped.err);
  CHECK(!fs::exists(folder.path() / "a.zip"));

  const Outcome other = shell(pack + "--set 'data={type=\"shapes\", num_images=21, image_size=16}'", folder.path());
  CHECK(other.status == 2);
  CHECK_MESSAGE(
      contains(other.err, "a.zip.part does not hold parts of these images at this size (21 images instead of 20)"),
      other.err);

  // Other images with the same names and number.
  const Outcome alike = shell(
      "cp -r images others && cp images/00000/img00000001.png others/00000/img00000000.png && cp "
      "images/00000/img00000000.png others/00000/img00000012.png && " +
          pack + "--set 'data={type=\"folder\", path=\"others\", image_size=16}'",
      folder.path());
  CHECK(alike.status == 2);
  CHECK_MESSAGE(contains(alike.err, "a.zip.part does not hold parts of these images"), alike.err);
  // Other labels of the same images, which are packed although the experiment does not use them.
  write_file(folder.path() / "relabel.py", R"(import json
data = json.load(open("images/dataset.json"))
data["labels"] = [[name, (label + 1) % 5] for name, label in data["labels"]]
json.dump(data, open("relabelled/dataset.json", "w"))
)");
  const Outcome relabelled =
      shell("cp -r images relabelled && python3 relabel.py && " + pack +
                "--set 'data={type=\"folder\", path=\"relabelled\", labels=\"json\", image_size=16}'",
            folder.path());
  CHECK(relabelled.status == 2);
  CHECK_MESSAGE(contains(relabelled.err, "a.zip.part does not hold parts of these images"), relabelled.err);
  const Outcome turned = shell(pack + of_folder(", exif_orientation=\"apply\""), folder.path());
  CHECK(turned.status == 2);
  CHECK_MESSAGE(contains(turned.err,
                         "a.zip.part holds images that were read in another way (data.exif_orientation: "
                         "\"ignore\" -> \"apply\")"),
                turned.err);
  // A failed write must not count as an unreadable image.
  fs::create_directory(part / "00000" / "img00000012.png");
  write_file(part / "00000" / "img00000012.png" / "mine", "mine");
  write_file(damaged, whole);
  const Outcome unwritten = shell(pack + of_folder(", skip_unreadable=true"), folder.path());
  CHECK(unwritten.status == 1);
  CHECK_MESSAGE(contains(unwritten.err, "img00000012.png"), unwritten.err);
  fs::remove_all(part / "00000" / "img00000012.png");

  // As if the list was truncated while it was written.
  fs::resize_file(part / "list.txt", fs::file_size(part / "list.txt") - 2);
  write_file(damaged, whole);
  // What only a training does with the images may change.
  const std::string other_training = ", workers=3, random_flip=true, cache=\"never\"";
  const Outcome done = shell(pack + of_folder(other_training) + " && cmp a.zip shapes.zip", folder.path());
  CHECK_MESSAGE(done.status == 0, done.err << done.out);
  CHECK(!fs::exists(part));

  fs::resize_file(damaged, 60);
  const Outcome skipped =
      shell("casdm data pack small.toml --out c.zip " + of_folder(", skip_unreadable=true"), folder.path());
  CHECK_MESSAGE(contains(skipped.err, "packed 19 images; left out 1 that cannot be read"), skipped.err);
}

TEST_CASE("the parts of a finished archive stay if the user has put something among them") {
  const TemporaryFolder folder;
  make_images(folder.path());
  const fs::path damaged = folder.path() / "images" / "00000" / "img00000012.png", part = folder.path() / "a.zip.part";
  const std::string whole = read_file(damaged), pack = "casdm data pack small.toml --out a.zip " + of_folder();
  fs::resize_file(damaged, 60);
  REQUIRE(shell(pack, folder.path()).status == 1);
  write_file(damaged, whole);
  write_file(part / "00000" / "mine.txt", "mine");
  const Outcome finished = shell(pack, folder.path());
  CHECK_MESSAGE(finished.status == 0, finished.err);
  CHECK_MESSAGE(contains(finished.err, "mine.txt in it was not made by `casdm data pack`"), finished.err);
  CHECK(read_file(part / "00000" / "mine.txt") == "mine");
  CHECK(fs::exists(folder.path() / "a.zip"));
}

TEST_CASE("a second packing into an archive is refused while the first one runs, and leaves its parts alone") {
  const TemporaryFolder folder;
  make_images(folder.path());
  const fs::path part = folder.path() / "a.zip.part";
  fs::create_directory(part);
  const std::string pack = "casdm data pack small.toml --out a.zip " + of_folder();
  const Outcome second = shell("exec 9<a.zip.part && flock 9 && " + pack, folder.path());
  CHECK(second.status == 1);
  CHECK_MESSAGE(contains(second.err, "another process is packing into a.zip.part"), second.err);
  CHECK(fs::is_directory(part));
  const Outcome first = shell(pack + " && cmp a.zip shapes.zip", folder.path());
  CHECK_MESSAGE(first.status == 0, first.err);
  CHECK(!fs::exists(part));
}
