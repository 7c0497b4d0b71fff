#include "framework/distributed/run_in_world.h"

#include <iostream>
#include <optional>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/distributed/joined_world.h"
#include "framework/support/exception_message.h"
#include "framework/support/silence.h"

namespace casdm {

namespace {

/// Ends the process after `error`: throws it, with the name of this process, if this is the one to tell the user.
int end_with(JoinedWorld& world, const std::exception& error, bool is_config) {
  const auto* lost = dynamic_cast<const ProcessLost*>(&error);
  const std::string own = is_out_of_memory(error) ? exception_message(error) : error.what();
  const bool is_of_all = lost != nullptr || dynamic_cast<const WorldConfigError*>(&error) != nullptr;
  const std::string message = is_of_all ? own : text(world.name(world.rank()), ": ", own);
  const bool tells = (lost == nullptr || !lost->is_told()) && world.claims(message);
  world.leave(/*has_failed=*/true);
  if (!tells) return 1;
  if (is_config) throw ConfigError(message);
  throw Error(message);
}

void require_same_command(JoinedWorld& world, const std::string& own) {
  const std::vector<std::string> commands = world.gather(own);
  for (std::size_t i = 1; i < commands.size(); ++i) {
    if (commands[i] == commands[0]) continue;
    throw WorldConfigError(text(world.name(static_cast<int>(i)), " runs `casdm ", commands[i], "`, and ", world.name(0),
                                " `casdm ", commands[0], "`; give all processes the same command"));
  }
}

}  // namespace

int run_in_world(const std::string& command, const std::function<int(World&)>& work,
                 const std::function<bool()>& is_cancelled) {
  const ProcessPlace place = process_place();
  if (place.size == 1) {
    World alone;
    return work(alone);
  }
  std::optional<JoinedWorld> world;
  try {
    world.emplace(place, Patience::of_environment(), is_cancelled);
  } catch (const ProcessLost& lost) {
    if (lost.is_told()) return 1;
    throw;
  }
  std::optional<Silence> silence;
  if (!world->is_first()) silence.emplace();
  try {
    require_same_command(*world, command);
    const int status = work(*world);
    world->leave(/*has_failed=*/false);
    return status;
  } catch (const ConfigError& error) {
    return end_with(*world, error, true);
  } catch (const std::exception& error) {
    return end_with(*world, error, false);
  }
}

}  // namespace casdm
