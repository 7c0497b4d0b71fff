// Writes the note of a plugin, as a source file, from what its code declares. casdm_add_plugin calls it while a plugin
// is built.

#include <dlfcn.h>

#include <cstdio>
#include <fstream>
#include <iostream>

#include "casdm/elf_note.h"
#include "casdm/error.h"
#include "casdm/plugin.h"
#include "casdm/plugin_description.h"
#include "casdm/text.h"

namespace {

std::string declared(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw casdm::PluginError(dlerror());
  using Entry = const casdm_plugin* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, "casdm_plugin_entry"));
  if (entry == nullptr) throw casdm::PluginError(casdm::text(library, " has no CASDM_PLUGIN(...) entry"));
  return casdm::to_json(casdm::describe_plugin(*entry()));
}

void emit(const std::string& library, const std::string& output) {
  const std::string json = declared(library);
  std::ofstream file(output);
  file << "// Made by casdm_add_plugin.\n"
       << "asm(\".pushsection .note.casdm,\\\"aR\\\",@note\\n\"\n"
       << "    \".p2align 2\\n.long 6, 9f - 8f, " << casdm::kNoteType << "\\n.asciz \\\"casdm\\\"\\n.p2align 2\\n\"\n"
       << "    \"8: .long " << casdm::kNoteLayout << ", " << json.size() << "\\n\"\n";
  for (std::size_t at = 0; at < json.size(); at += 32) {
    file << "    \".byte ";
    for (std::size_t i = at; i < std::min(at + 32, json.size()); ++i) {
      file << (i > at ? "," : "") << static_cast<int>(static_cast<unsigned char>(json[i]));
    }
    file << "\\n\"\n";
  }
  file << "    \"9: .p2align 2\\n.popsection\\n\");\n";
  file.close();
  if (!file) throw casdm::Error(casdm::text("cannot write ", output));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 3) {
      std::cerr << "usage: casdm_note LIBRARY OUTPUT\n";
      return 2;
    }
    emit(argv[1], argv[2]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "casdm_note: " << error.what() << '\n';
    return 1;
  }
}
