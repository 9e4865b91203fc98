#include "engine/error.h"

namespace tapescope {

Error error_of(Blame blame, fmt::string_view text, fmt::format_args values) {
  return {blame, fmt::vformat(text, values)};
}

}  // namespace tapescope
