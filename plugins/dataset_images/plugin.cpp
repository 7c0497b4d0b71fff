#include "casdm/plugin.h"

#include "cifar10_dataset.h"
#include "folder_dataset.h"
#include "zip_dataset.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::dataset_images;
  plugin.describe({.summary = "Images from zip archives, folders and CIFAR-10", .licence = "Apache-2.0"});
  plugin.add<ZipDataset>("zip",
                         "PNG and JPEG images of a zip archive, with the labels of its dataset.json (EDM's layout).");
  plugin.add<FolderDataset>("folder", "PNG and JPEG images of a folder and of all folders below it.");
  plugin.add<Cifar10Dataset>(
      "cifar10",
      "CIFAR-10 (Krizhevsky 2009): the binary version, or JPEG or PNG files in train/<class>/ and "
      "test/<class>/; a folder, or a tar of one, plain or gzipped.");
}
