#include "casdm/user_folder.h"

#include <cstdlib>

namespace casdm {

namespace {

struct Place {
  const char* variable;
  const char* below_home;
};

Place place_of(UserFolder which) {
  switch (which) {
    case UserFolder::data:
      return {"XDG_DATA_HOME", ".local/share"};
    case UserFolder::state:
      return {"XDG_STATE_HOME", ".local/state"};
    case UserFolder::cache:
      break;
  }
  return {"XDG_CACHE_HOME", ".cache"};
}

std::optional<std::filesystem::path> absolute_path(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || !std::filesystem::path(value).is_absolute()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::filesystem::path> user_folder(UserFolder which) {
  const Place place = place_of(which);
  if (const auto given = absolute_path(place.variable)) return *given / "casdm";
  if (const auto home = absolute_path("HOME")) return *home / place.below_home / "casdm";
  return std::nullopt;
}

}  // namespace casdm
