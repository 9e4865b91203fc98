// Whose fault it is that a file cannot be opened, made or written.
#pragma once

#include <system_error>

#include "engine/error.h"

namespace tapescope {

// The user's where the path or the rights to it are wrong; a failure where the disk is.
inline Blame blame_of(const std::error_code& cause) {
  for (const std::errc wrong :
       {std::errc::no_such_file_or_directory, std::errc::permission_denied,
        std::errc::operation_not_permitted, std::errc::filename_too_long,
        std::errc::too_many_symbolic_link_levels, std::errc::not_a_directory,
        std::errc::is_a_directory, std::errc::file_exists, std::errc::read_only_file_system,
        std::errc::invalid_argument, std::errc::directory_not_empty}) {
    if (cause == wrong) return Blame::usage;
  }
  return Blame::failure;
}

}  // namespace tapescope
