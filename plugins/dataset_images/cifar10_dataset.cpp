#include "cifar10_dataset.h"

#include <algorithm>
#include <array>

#include "casdm/error.h"
#include "casdm/text.h"
#include "files.h"

namespace casdm::dataset_images {

namespace {

constexpr std::array<std::string_view, 10> kClasses = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                       "dog",      "frog",       "horse", "ship", "truck"};

CifarForm form_of(Split split) {
  CifarForm form{"CIFAR-10", split, {"test_batch"}, 1, 0, "labels", 10};
  if (split == Split::train) {
    form.batches.clear();
    for (int number = 1; number <= 5; ++number) form.batches.push_back(text("data_batch_", number));
  }
  return form;
}

/// The class folder of ".../<split>/<class>/<image>"; empty for other names.
std::string_view class_folder(std::string_view name, Split split) {
  if (!is_image_name(name) || file_name(name).starts_with('.')) return {};
  const std::size_t file = name.rfind('/');
  if (file == std::string_view::npos || file == 0) return {};
  const std::size_t folder = name.rfind('/', file - 1);
  if (folder == std::string_view::npos) return {};
  const std::string_view above = file_name(name.substr(0, folder));
  return above == to_string(split) ? name.substr(folder + 1, file - folder - 1) : std::string_view();
}

std::int64_t class_number(std::string_view folder, const std::string& source) {
  const auto found = std::find(kClasses.begin(), kClasses.end(), folder);
  if (found == kClasses.end()) {
    throw Error(text(source, ": CIFAR-10 has no class ", quoted(folder),
                     "; type = \"folder\" with labels = \"folders\" reads any classes"));
  }
  return found - kClasses.begin();
}

}  // namespace

Cifar10Dataset::Cifar10Dataset(const Cifar10Options& options, const Spec& spec)
    : path_(options.path), split_(options.split), form_{spec}, batches_(form_of(options.split)) {
  require_channels(spec.image.channels);
  require_exists(path_, "CIFAR-10, as a folder or a tar archive");
  const SomeNames seen = read_members(
      path_,
      [&](const std::string& name) { return batches_.is_batch(name) || !class_folder("/" + name, split_).empty(); },
      [&](Member member) { take(std::move(member)); });
  batches_.finish(path_.string());
  if (size() == 0) fail_empty(seen);
  sort_files();
}

void Cifar10Dataset::take(Member member) {
  if (batches_.is_batch(member.name)) {
    batches_.add(path_.string(), member.name, content_of(member));
  } else {
    batches_.hold(path_.string(), sizeof(File) + member.name.size() + member.bytes.size());
    const std::string source = text(path_.string(), ":", member.name);
    const std::int64_t label = class_number(class_folder("/" + member.name, split_), source);
    files_.push_back({std::move(member), label});
  }
}

void Cifar10Dataset::sort_files() {
  const auto by_name = [](const File& a, const File& b) { return a.member.name < b.member.name; };
  const auto same_name = [](const File& a, const File& b) { return a.member.name == b.member.name; };
  std::sort(files_.begin(), files_.end(), by_name);
  const auto twice = std::adjacent_find(files_.begin(), files_.end(), same_name);
  if (twice != files_.end()) fail_twice(path_, twice->member.name);
}

void Cifar10Dataset::fail_empty(const SomeNames& seen) const {
  const std::string_view batch = split_ == Split::test ? "test_batch" : "data_batch_*";
  throw Error(text(path_.string(), " holds no ", to_string(split_), " images of CIFAR-10: looked for ", batch, ".bin, ",
                   batch, " and ", to_string(split_), "/<class>/*.jpg; it holds ", seen.shown()));
}

Labels Cifar10Dataset::labels() const {
  Labels labels{batches_.labels(), num_classes()};
  if (!batches_.empty()) return labels;
  for (const File& file : files_) labels.values.push_back(file.label);
  return labels;
}

Example Cifar10Dataset::get(std::int64_t index) const {
  if (batches_.empty()) {
    const auto& [member, label] = file(index);
    Example example = decode_image(content_of(member), form_, describe(index));
    example.label = label;
    return example;
  }
  Example example = batches_.get(index);
  if (form_.spec.image.channels == 1) example.image = to_grey(example.image);
  return example;
}

std::string Cifar10Dataset::key(std::int64_t index) const {
  return batches_.empty() ? file(index).member.name : batches_.key(index);
}

std::string Cifar10Dataset::describe(std::int64_t index) const {
  if (!batches_.empty()) return text(path_.string(), ":", batches_.name(index));
  const Member& member = file(index).member;
  return member.path.empty() ? text(path_.string(), ":", member.name) : member.path.string();
}

}  // namespace casdm::dataset_images
