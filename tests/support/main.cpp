#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "framework/loading/framework_library.h"

int main(int argc, char** argv) {
  casdm::end_without_libtorch();
  return doctest::Context(argc, argv).run();
}
