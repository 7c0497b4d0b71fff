#include "casdm/plugin.h"

#include "arrays_dataset.h"
#include "cifar100_dataset.h"
#include "cifar10_dataset.h"
#include "folder_dataset.h"
#include "imagenet_dataset.h"
#include "lmdb_dataset.h"
#include "part.h"
#include "shards_dataset.h"
#include "zip_dataset.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::dataset_images;
  plugin.describe(
      {.summary = "Images from archives, folders, arrays and the formats of known data sets", .licence = "Apache-2.0"});
  plugin.add<Parted<ZipDataset>>(
      "zip", "PNG, JPEG and WebP images of a zip archive, with the labels of its dataset.json (EDM's layout).");
  plugin.add<Parted<FolderDataset>>("folder", "PNG, JPEG and WebP images of a folder and of all folders below it.");
  plugin.add<Parted<Cifar10Dataset>>(
      "cifar10",
      "CIFAR-10 (Krizhevsky 2009): the binary or the Python version, or JPEG or PNG files in train/<class>/ and "
      "test/<class>/; a folder, or a tar of one, plain or gzipped.");
  plugin.add<Parted<Cifar100Dataset>>(
      "cifar100",
      "CIFAR-100 (Krizhevsky 2009): the binary or the Python version; a folder, or a tar of one, plain or gzipped.");
  plugin.add<Parted<ArraysDataset>>("arrays", "Images of an array of bytes: a .npy file, or an array of an .npz.");
  plugin.add<Parted<ImageNetDataset>>("imagenet_npz",
                                      "ImageNet at 8 to 64 pixels (Chrabaszcz et al. 2017), as its batches of .npz.");
  plugin.add<Parted<LmdbDataset>>("lmdb", "WebP, JPEG and PNG images of an LMDB, as LSUN (Yu et al. 2015) comes.");
  plugin.add<Parted<ShardsDataset>>(
      "shards", "PNG, JPEG and WebP images of tar archives, with labels in .cls files, as WebDataset writes them.");
}
