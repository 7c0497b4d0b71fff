#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/dataset.h"
#include "casdm/options.h"
#include "image_decoder.h"
#include "part.h"

struct MDB_env;
struct MDB_txn;

namespace casdm::dataset_images {

struct LmdbOptions : PartOptions {
  std::filesystem::path path;
  ExifOrientation exif_orientation = ExifOrientation::ignore;

  static void describe(Schema<LmdbOptions>& s) {
    s.option("path", &LmdbOptions::path, "The folder that holds data.mdb.")
        .existing_path()
        .required()
        .example("bedroom_train_lmdb");
    s.option("exif_orientation", &LmdbOptions::exif_orientation, kOrientationHelp);
    describe_part(s);
  }
};

/// The images of an LMDB whose values are image files, in the order of their keys, as LSUN (Yu et al. 2015) is
/// distributed. Nothing is written, so the folder may be read-only; if another program changes the database, that is
/// noticed at the next image.
class LmdbDataset : public Dataset {
 public:
  using Options = LmdbOptions;

  /// Throws ConfigError if there is no such folder, Error if it does not contain an LMDB, if the database is damaged or
  /// truncated, or if its values are not images.
  LmdbDataset(const LmdbOptions& options, const Spec& spec);

  std::int64_t size() const override { return std::ssize(entries_); }
  Example get(std::int64_t index) const override;
  std::string describe(std::int64_t index) const override;
  std::string key(std::int64_t index) const;

 private:
  /// An entry in the mapped file.
  struct Entry {
    std::string_view key;
    std::string_view value;
  };

  void open_environment();
  void read_entries();
  void require_within_file() const;
  void require_images() const;
  void require_unchanged() const;

  /// The key, made readable.
  std::string name(std::int64_t index) const;

  std::filesystem::path path_;
  ImageForm form_;
  std::shared_ptr<MDB_env> environment_;
  std::shared_ptr<MDB_txn> transaction_;
  std::uint64_t last_change_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace casdm::dataset_images
