#include "fuzz/targets.h"

#include <ATen/ops/sum.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "casdm/dataset.h"
#include "casdm/elf_note.h"
#include "casdm/error.h"
#include "casdm/plugin_description.h"
#include "casdm/safetensors.h"
#include "casdm/testing.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/config/document.h"
#include "framework/config/overrides.h"
#include "framework/config/parse_toml.h"
#include "framework/interchange/weights_file.h"
#include "framework/loading/note_summary.h"
#include "framework/support/sealed_json.h"
#include "plugins/dataset_images/image_decoder.h"
#include "plugins/dataset_images/tar_reader.h"
#include "sdk/arrays/npz_reader.h"
#include "sdk/arrays/pickle.h"
#include "sdk/arrays/pickled_arrays.h"

namespace fs = std::filesystem;

namespace casdm::fuzz {

namespace {

/// Of an archive or data set no more are read.
constexpr std::size_t kMostMembers = 16;

std::string text_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

/// The bytes as a file, until the next call with this name.
fs::path file_of(Bytes bytes, const std::string& name) {
  struct Folder {
    fs::path path = fs::temp_directory_path() / text("casdm-fuzz-", getpid());
    Folder() { fs::create_directories(path); }
    ~Folder() { fs::remove_all(path); }
  };
  static const Folder folder;
  const fs::path path = folder.path / name;
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return path;
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "contradiction: " << what << '\n';
  std::abort();
}

/// Tries every one of several readers, then refuses what none of them took.
template <class... Read>
void any_of(const Read&... read) {
  bool is_taken = false;
  std::string refusal;
  const auto attempt = [&](const auto& one) {
    try {
      one();
      is_taken = true;
    } catch (const Error& error) {
      refusal = error.what();
    }
  };
  (attempt(read), ...);
  if (!is_taken) throw Error(refusal);
}

void touch(const at::Tensor& tensor) { at::sum(tensor.to(at::kDouble)); }

void read_images(const std::string& type, const fs::path& path, std::int64_t side, Value::Table options = {}) {
  options.emplace_back("path", path.string());
  const auto data =
      testing::make<Dataset>(type, options, {side > 0 ? ImageShape::square(3, side) : ImageShape{3, 0, 0}});
  for (std::int64_t i = 0; i < data->size() && i < static_cast<std::int64_t>(kMostMembers); ++i) {
    const Image image = data->get(i).image;
    if (!image.pixels.empty()) {
      require(image.pixels.size() == static_cast<std::size_t>(image.width * image.height * image.channels),
              "an image has as many pixels as its sides say");
    }
  }
}

void toml(Bytes bytes) {
  const std::string written = to_toml(parse_toml(text_of(bytes), "experiment.toml"));
  std::string again;
  try {
    again = to_toml(parse_toml(written, "again.toml"));
  } catch (const ConfigError& error) {
    require(false, error.what());
  }
  require(again == written, "what is written of a document is read back as it was");
}

void overrides(Bytes bytes) {
  Value document = parse_toml(
      "run = { name = \"a\" }\nhead = { type = \"cascade\", theta = { type = \"unet\", channels = [1, 2] } }\n"
      "[[metrics]]\ntype = \"l1\"\nweight = 0.5\n",
      "experiment.toml");
  std::vector<std::string> lines;
  std::istringstream stream(text_of(bytes));
  for (std::string line; std::getline(stream, line) && lines.size() < kMostMembers;) lines.push_back(line);
  apply_overrides(document, lines);
  to_toml(document);
}

void elf_note(Bytes bytes) {
  if (!bytes.empty() && bytes[0] == '{') {
    const PluginDescription description = description_from_json(text_of(bytes));
    require(to_json(description_from_json(to_json(description))) == to_json(description),
            "a description is read back as it was");
    summary_from_json(text_of(bytes));
    return;
  }
  const std::optional<ElfNote> note = read_elf_note(bytes.data(), bytes.size(), "plugin.so");
  if (note) summary_from_json(note->json);
}

void safetensors(Bytes bytes) {
  for (const auto& [name, tensor] : read_safetensors(file_of(bytes, "weights.safetensors")).tensors) touch(tensor);
}

void json(Bytes bytes) {
  const Value value = from_json(text_of(bytes));
  require(to_json(from_json(to_json(value))) == to_json(value), "a value is read back as it was");
  check_seal(value);
}

void npz(Bytes bytes) {
  const fs::path path = file_of(bytes, "arrays.npz");
  any_of(
      [&] {
        const NpzReader archive(path);
        for (std::size_t i = 0; i < archive.names().size() && i < kMostMembers; ++i) {
          const std::string& name = archive.names()[i];
          any_of([&] { archive.bytes(name, 1 << 20); }, [&] { touch(archive.numbers(name)); },
                 [&] {
                   std::uint8_t first = 0;
                   if (archive.is_stored(name)) archive.read_at(name, 0, &first, 1);
                 },
                 [&] { archive.text_of(name); });
        }
      },
      [&] {
        NpzImages images(path);
        for (std::int64_t i = 0; i < images.size() && i < static_cast<std::int64_t>(kMostMembers); ++i) images.read(i);
      },
      [&] { read_images("arrays", path, 8); });
}

void npy(Bytes bytes) { read_images("arrays", file_of(bytes, "images.npy"), 8); }

void pickle(Bytes bytes) {
  const fs::path path = file_of(bytes, "weights.pt");
  any_of(
      [&] {
        for (const auto& [name, tensor] : read_weights(path).tensors) touch(tensor);
      },
      [&] {
        for (const auto& [name, array] : read_pickled_arrays(path)) touch(array);
      },
      [&] {
        std::istringstream stream(text_of(bytes));
        PickleSource source(stream, bytes.size());
        const Pickle batch(source, PickleNames::numpy);
      });
}

void zip(Bytes bytes) {
  const fs::path path = file_of(bytes, "archive.zip");
  any_of([&] { read_images("zip", path, 8); },
         [&] {
           for (const auto& [name, tensor] : read_weights(path).tensors) touch(tensor);
         });
}

void tar(Bytes bytes) {
  const fs::path path = file_of(bytes, "shard.tar");
  any_of([&] { dataset_images::index_tar(path); }, [&] { read_images("shards", path, 8); },
         [&] {
           dataset_images::read_tar(
               path, [](const std::string&) { return true; },
               [](const std::string&, const std::vector<std::uint8_t>&) {});
         });
}

void image(Bytes bytes) {
  dataset_images::ImageForm form{{ImageShape::square(3, 8)}, dataset_images::ExifOrientation::apply};
  const auto decode = [&] { dataset_images::decode_image(bytes, form, "image"); };
  decode();
  form.spec.image = {1, 8, 8};
  decode();
  form.spec.image = {3, 0, 0};
  decode();
}

constexpr Target kTargets[] = {
    {"toml", toml},         {"overrides", overrides},
    {"elf_note", elf_note}, {"safetensors", safetensors},
    {"json", json},         {"npz", npz},
    {"npy", npy},           {"pickle", pickle},
    {"zip", zip},           {"tar", tar},
    {"image", image},
};

}  // namespace

std::span<const Target> targets() { return kTargets; }

bool is_taken(const Target& target, Bytes bytes) {
  try {
    target.read(bytes);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace casdm::fuzz
