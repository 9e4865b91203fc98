#include "kernels/elementwise/elementwise.h"

namespace tapescope {

std::string_view name_of(Unary function) {
  switch (function) {
#define TAPESCOPE_BINARY(name, expression)
#define TAPESCOPE_UNARY(name, expression) \
  case Unary::name:                       \
    return #name;
#include "kernels/elementwise/functions.inc"
  }
  return "?";
}

std::string_view name_of(Binary function) {
  switch (function) {
#define TAPESCOPE_UNARY(name, expression)
#define TAPESCOPE_BINARY(name, expression) \
  case Binary::name:                       \
    return #name;
#include "kernels/elementwise/functions.inc"
  }
  return "?";
}

}  // namespace tapescope
