#include "cifar100_dataset.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "files.h"
#include "image_decoder.h"
#include "members.h"

namespace casdm::dataset_images {

namespace {

/// A record of the binary version begins with the coarse label, then the fine one.
CifarForm form_of(const Cifar100Options& options) {
  const std::string file(to_string(options.split));
  return options.labels == Cifar100Labels::fine
             ? CifarForm{"CIFAR-100", options.split, {file}, 2, 1, "fine_labels", 100}
             : CifarForm{"CIFAR-100", options.split, {file}, 2, 0, "coarse_labels", 20};
}

}  // namespace

Cifar100Dataset::Cifar100Dataset(const Cifar100Options& options, const Spec& spec)
    : path_(options.path),
      channels_(spec.image.channels),
      classes_(form_of(options).classes),
      batches_(form_of(options)) {
  require_channels(channels_);
  require_exists(path_, "CIFAR-100, as a folder or a tar archive");
  const SomeNames seen = read_members(
      path_, [&](const std::string& name) { return batches_.is_batch(name); },
      [&](const Member& member) { batches_.add(path_.string(), member.name, content_of(member)); });
  batches_.finish(path_.string());
  if (!batches_.empty()) return;
  const std::string_view file = to_string(options.split);
  throw Error(text(path_.string(), " holds no ", file, " images of CIFAR-100: looked for ", file, ".bin and ", file,
                   "; it holds ", seen.shown()));
}

Example Cifar100Dataset::get(std::int64_t index) const {
  Example example = batches_.get(index);
  if (channels_ == 1) example.image = to_grey(example.image);
  return example;
}

std::string Cifar100Dataset::describe(std::int64_t index) const {
  return text(path_.string(), ":", batches_.name(index));
}

}  // namespace casdm::dataset_images
