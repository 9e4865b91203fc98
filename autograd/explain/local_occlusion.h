// Occlusion that computes anew only what a window of the picture can reach.
//
// A window changes a rectangle of every feature map that convolutions, pools and element-wise
// functions make of the picture: the ops' footprints say which. The target's ancestors are cut in
// two: a local part, computed on patches of the size of that rectangle, with the recorded feature
// map around them, and the rest, computed as usual on the recorded feature maps with the patches
// pasted in. All patches of a node have one size, whatever the window: they begin at a multiple of
// the largest stride from the picture, and what lies outside of a feature map is put back to what
// its reader pads with. The scores are those of whole changed pictures, to rounding.
//
// Where to cut is chosen by multiply-adds. A rectangle that covers its feature map, a global op, an
// op of a kind not known here (resizing, a mean pool that does not count its padding) ends the
// local part.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autograd/explain/occlusion_patch.h"
#include "autograd/program/program.h"

namespace tapescope::explain {

class LocalOcclusion {
 public:
  // Appends the target {N} of `image` f32 {N,H,W,C} and `index` i64 {N} to the tape.
  using Record = std::function<Var(Tape& tape, Var image, Var index)>;
  // Its Programs are compiled with `how`.
  LocalOcclusion(const Record& record, Shape image_shape, Device device = Device::cpu(),
                 const KernelChoices& kernels = {}, CompileOptions how = {});
  ~LocalOcclusion();

  // Multiply-adds of one of these windows, in those of a forward pass. 1: nothing would be saved.
  double cost(const Windows& windows);

  struct Result {
    Estimate estimate;    // as occlusion()'s
    Tensor whole;         // f32 {N}: the target of x
    double forwards = 0;  // multiply-adds of all that ran, in those of a forward pass
  };
  // index: i64 {N}.
  Result run(const Tensor& x, const Tensor& index, const Tensor& baseline, const Windows& windows,
             int chunk = 8);

 private:
  struct Site;
  struct Plan;
  struct Patches;  // the local part on a tape of its own
  Plan plan(const Windows& windows) const;
  Plan plan_up_to(std::uint32_t limit, const Windows& windows) const;
  Patches record_patches(const Plan& plan) const;
  Patches& patches(const Windows& windows);

  Tape tape_;
  CompileOptions how_;
  Var image_, target_;
  std::vector<bool> needed_, reached_;          // by node: for the target; by the picture
  std::vector<std::optional<Patch>> possible_;  // by node: could be local; jumps only
  std::vector<double> macs_;                    // by node, of what the target needs
  std::map<std::string, std::unique_ptr<Patches>> made_;
};

}  // namespace tapescope::explain
