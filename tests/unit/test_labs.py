"""The labs' checks take the reference solutions and name each usual mistake; the notebooks keep to nbgrader's form."""

import re
import subprocess
import sys

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from lab_notebooks import LABS, SOURCE, index_of, metadata, plant, points, read

from bfr_lite import labs, mmrb
from bfr_lite.labs.checking import Check

GUIDE = SOURCE.parent / "README.md"
NOTEBOOKS = SOURCE.parents[1]
LAB_OF = {metadata(cell)["grade_id"]: lab for lab in LABS for cell in read(lab).cells if metadata(cell).get("solution")}

# exercise, what is right in its solution, what a student writes in its place, what the check says
MISTAKES = [
    ("gaussian_kernel", "return kernel / kernel.sum()", "return kernel", "sums to"),
    ("gaussian_kernel", "return kernel / kernel.sum()", "kernel / kernel.sum()", "returns None"),
    ("gaussian_kernel", "return kernel / kernel.sum()", "return 1", "must return a tensor"),
    ("gaussian_kernel", "y, x = torch", "x, y = torch", "transposed"),
    ("gaussian_kernel", "x * cos + y * sin, y * cos - x * sin", "x * cos - y * sin, y * cos + x * sin", "wrong way"),
    ("gaussian_kernel", "\n    y, x", "\n    angle = torch.tensor(angle).deg2rad()\n    y, x", "in radians already"),
    ("gaussian_kernel", "(along / sigma_x) ** 2 + (across / sigma_y) ** 2", "along**2 / sigma_x + across**2 / sigma_y",
     "sigma is a width"),
    ("gaussian_kernel", ") / 2)", "))", "the ½"),
    ("gaussian_kernel", "steps = torch", "radius = int(4 * max(sigma_x, sigma_y))\n    steps = torch",
     "returned shape"),
    ("gaussian_kernel", "radius + 1.0", "radius + 0.0", "returned shape (12, 12) where (13, 13)"),
    ("add_noise", "sigma / 255", "sigma", "divide it by 255"),
    ("add_noise", "pattern).clamp(0, 1)", "pattern)", "clamp it"),
    ("add_noise", "torch.randn(", "torch.rand(", "uniform"),
    ("add_noise", "torch.randn(", "-1 + 2 * torch.rand(", "uniform"),
    ("add_noise", ", generator=torch.Generator().manual_seed(seed)", "", "global random numbers"),
    ("add_noise", "generator=torch.Generator().manual_seed(seed)", "generator=torch.manual_seed(seed)", "global"),
    ("add_noise", "manual_seed(seed)", "manual_seed(0)", "`seed` is not used"),
    ("add_noise", "torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))",
     "torch.Generator().manual_seed(seed)\n"
     "    pattern = torch.stack([torch.randn(x.shape, generator=pattern) for x in images])", "in one call"),
    ("add_noise", "images.shape", "images.shape[1:]", "every picture gets the same noise"),
    ("add_noise", "(images + sigma / 255 * pattern)", "images.add_(sigma / 255 * pattern)", "in place"),
    ("damage", "resize(blur(image, kernel), low_size(size, down))", "blur(resize(image, low_size(size, down)), kernel)",
     "shrinks before it blurs"),
    ("damage", "labs.add_noise(small, noise, seed)\n    return resize(jpeg(noisy, quality), size)",
     "jpeg(small, quality)\n    return resize(labs.add_noise(noisy, noise, seed), size)", "noise comes after JPEG"),
    ("damage", "resize(blur(image, kernel), low_size(size, down))\n    noisy = labs.add_noise(small, noise, seed)",
     "labs.add_noise(blur(image, kernel), noise, seed)\n    noisy = resize(small, low_size(size, down))",
     "noise comes before shrinking"),
    ("damage", "blur(image, kernel), low_size(size, down))\n    noisy = labs.add_noise(small, noise, seed)",
     "blur(labs.add_noise(image, noise, seed), kernel), low_size(size, down))\n    noisy = small",
     "noise comes before blur"),
    ("damage", "resize(jpeg(noisy, quality), size)", "jpeg(resize(noisy, size), quality)", "enlarges before JPEG"),
    ("damage", "labs.add_noise(small, noise, seed)\n    return resize(jpeg(noisy, quality), size)",
     "resize(small, size)\n    return jpeg(labs.add_noise(noisy, noise, seed), quality)", "come after enlarging"),
    ("damage", "blur(image, kernel)", "image", "the blur is missing"),
    ("damage", "low_size(size, down)", "int(size / down)", "cut down to a whole number"),
    ("damage", "labs.add_noise(small, noise, seed)", "small", "the noise is missing"),
    ("damage", "jpeg(noisy, quality)", "noisy", "JPEG is missing"),
    ("damage", "resize(jpeg(noisy, quality), size)", "jpeg(noisy, quality)", "stays small"),
    ("damage", "resize(jpeg(noisy, quality), size)", "F.interpolate(jpeg(noisy, quality), size)", "repeating pixels"),
    ("round_straight_through", "values + (values.round() - values).detach()", "values.round()", "the gradient is 0"),
    ("round_straight_through", "values + (values", "values.detach() + (values", "no gradient comes back"),
    ("round_straight_through", "values + (values.round() - values)", "values.round() + (values - values.round())",
     "unrounded"),
    ("round_straight_through", "values.round()", "values.floor()", "rounds down"),
    ("round_straight_through", "values + (values.round() - values).detach()",
     "values.round() + (values - values.round()) ** 3", "smooth rounding"),
    ("high_pass", ", count_include_pad=False", "", "zeros of the padding"),
    ("high_pass", "x - F", "F", "this is the local mean"),
    ("high_pass", "x - F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)", "x.clone()", "x itself"),
    ("high_pass", "F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)",
     "F.avg_pool2d(F.pad(x, (1,) * 4, mode='reflect'), 3, stride=1)", "the border is mirrored"),
    ("high_pass", "x - F", "-x + F", "the sign is reversed"),
    ("high_pass", "3, stride=1, padding=1", "5, stride=1, padding=2", "5×5"),
    ("high_pass", "F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)",
     "x.mean(dim=(2, 3), keepdim=True)", "whole map"),
    ("my_path", "padding=2, dilation=2", "padding=1", "sees 3 pixels along a side, and 5"),
    ("my_path", "padding=2, dilation=2", "padding=1, dilation=2", "with dilation 2 padding 2"),
    ("my_path", '"point": [Conv2d(width, width, 1)]', '"point": [Conv2d(width, 8, 1)]', "from `width` to `width`"),
    ("my_path", '"point": [Conv2d(width, width, 1)]', '"point": [Conv2d(width, width, 1, bias=False)]', "has a bias"),
    ("my_path", "nn.Sequential(*layers, nn.LeakyReLU(0.2))", "layers", "must return a module"),
    ("my_path", "*layers, nn.LeakyReLU(0.2)", "*layers", "missing at the end"),
    ("my_path", " nn.LeakyReLU(0.2), Conv2d(", " Conv2d(", "missing between"),
    ("my_path", "*layers, nn.LeakyReLU(0.2)", "*layers, nn.LeakyReLU()", "PyTorch's own is 0.01"),
    ("my_path", "*layers, nn.LeakyReLU(0.2)", "*layers, nn.ReLU()", "it uses a ReLU"),
    ("gate", "x * 2 * ", "x * ", "not doubled"),
    ("gate", "x * 2 * ", "2 * ", "weights alone"),
    ("gate", "dim=(2, 3)", "dim=(0, 2, 3)", "taken over the batch"),
    ("gate", "x.mean(", "x.amax(", "maximum"),
    ("gate", "x.mean(dim=(2, 3), keepdim=True)", "x", "weights of its own"),
    ("gate", "F.leaky_relu(squeeze(mean), 0.2)", "squeeze(mean)", "is missing"),
    ("gate", "F.leaky_relu(squeeze(mean), 0.2)", "F.relu(squeeze(mean))", "a ReLU stands"),
    ("gate", "F.leaky_relu(squeeze(mean), 0.2)", "F.leaky_relu(squeeze(mean))", "PyTorch's own is 0.01"),
    ("my_mmrb", "x + self.scale", "self.scale", "the residual is forgotten"),
    ("my_mmrb", "self.scale * self", "self", "`scale` is forgotten"),
    ("my_mmrb", "self.scale * self", "0.2 * self", "fixed number 0.2"),
    ("my_mmrb", "x + self.scale * self.gate(self.fuse(torch.cat(answers, dim=1)))",
     "self.scale * (x + self.gate(self.fuse(torch.cat(answers, dim=1))))", "acts on the input"),
    ("my_mmrb", "self.gate(self.fuse(torch.cat(answers, dim=1)))", "self.fuse(torch.cat(answers, dim=1))",
     "the gate is forgotten"),
    ("my_mmrb", "own + answers[-1] if answers else own", "own", "nothing is handed on"),
    ("my_mmrb", "own + answers[-1] if answers else own", "own + sum(answers)", "only the last one is handed on"),
    ("my_mmrb", "own + answers[-1] if", "(own + answers[-1]) / 2 if", "averaged"),
    ("my_mmrb", 'package_high_pass(part) if name == "texture" else part', "part", "hears no high-pass"),
    ("my_mmrb", "answers.append(self.paths[name](own + answers[-1] if answers else own))",
     "read = part + answers[-1] if answers else part\n"
     "            answers.append(self.paths[name](package_high_pass(read) if name == 'texture' else read))",
     "acts on what is handed on"),
    ("my_mmrb", "width = max(2, channels // 4)", "width = 4", "written into the code"),
    ("my_mmrb", "torch.full((channels, 1, 1), 0.2)", "torch.ones(channels, 1, 1)", "`scale` of a new block"),
    ("my_mmrb", "self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.2))",
     "self.register_buffer('scale', torch.full((channels, 1, 1), 0.2))", "must be an `nn.Parameter`"),
    ("my_mmrb", "torch.full((channels, 1, 1), 0.2)", "torch.full((channels, 1, 1), 0.2), requires_grad=False",
     "is frozen"),
    ("my_mmrb", "own + answers[-1] if", "own + answers[-1].detach() if", "may be detached"),
    ("my_mmrb", "max(2, channels // 4)", "channels // 4", "written into the code"),
    ("my_mmrb", "self.fuse = ", "self.merge = ", "missing ['fuse.bias', 'fuse.weight']"),
    ("my_mmrb", "x + self.scale * ", "x.add_(1).sub_(1.5) + self.scale * ", "in place"),
    ("modulate", "style[:, None, :, None, None]", "style[:, :, None, None, None]", "scales the output channels"),
    ("modulate", "weight[None] * style[", "weight[None] * (1 + style)[", "no 1 + style"),
    ("modulate", "style[:, None, :, None, None]", "style[:1].expand_as(style)[:, None, :, None, None]", "of the first"),
    ("modulate", "style[:, None, :, None, None]", "style.mean(dim=0).expand_as(style)[:, None, :, None, None]",
     "mixed"),
    ("modulate", "weight[None] * style[:, None, :, None, None]", "weight * style[0, :, None, None]", "batch axis"),
    ("demodulate", " + 1e-8", "", "epsilon is missing"),
    ("demodulate", "weights * (power + 1e-8).rsqrt()", "weights / (power.sqrt() + 1e-8)", "under the root"),
    ("demodulate", "dim=(2, 3, 4)", "dim=(1, 3, 4)", "runs over output channels"),
    ("demodulate", "dim=(2, 3, 4)", "dim=(3, 4)", "over the input channels, too"),
    ("demodulate", "dim=(2, 3, 4)", "dim=(1, 2, 3, 4)", "for all output channels"),
    ("demodulate", "dim=(2, 3, 4)", "dim=(0, 2, 3, 4)", "for the whole batch"),
    ("demodulate", "* (power + 1e-8).rsqrt()", "/ (power + 1e-8)", "the square root is missing"),
    ("demodulate", "rsqrt()", "sqrt()", "multiplies by the norm"),
    ("demodulate", ".sum(", ".mean(", "mean of the squares"),
    ("modulated_conv", "y * (power + 1e-8).rsqrt()[:, :, None, None]", "y", "demodulation is missing"),
    ("modulated_conv", " + 1e-8", "", "epsilon is missing"),
    ("modulated_conv", "style.square() @", "torch.ones_like(style) @", "forgets the style"),
    ("modulated_conv", "style.square() @", "style @", "forgets to square the style"),
    ("modulated_conv", "* (power + 1e-8).rsqrt()[:, :, None, None]", "/ (power + 1e-8)[:, :, None, None]",
     "square root is missing"),
    ("modulated_conv", "y = F", "style = style[:1].expand_as(style)\n    y = F", "the style of the first"),
    ("modulated_conv", ", padding=weight.shape[-1] // 2", "", "pad by k // 2"),
    ("modulated_conv", "x * style[:, :, None, None]", "x * style[:, :, None, None] ** 2", "in it twice"),
    ("modulated_conv", "F.conv2d(x * style[:, :, None, None], weight, padding=weight.shape[-1] // 2)",
     "F.conv2d(x, weight, padding=weight.shape[-1] // 2) * style[:, :, None, None]", "only the demodulation is right"),
    ("modulated_conv", "y * (power + 1e-8).rsqrt()[:, :, None, None]",
     "F.conv2d(x, weight, padding=weight.shape[-1] // 2) * style[:, :, None, None]", "it belongs to the input"),
    ("finish_layer", " * math.sqrt(2)", "", "factor √2"),
    ("finish_layer", ", 0.2)", ")", "PyTorch's own is 0.01"),
    ("finish_layer", "bias[:, None, None]", "bias", "along the columns"),
    ("finish_layer", "x + strength * noise + bias[:, None, None], 0.2) * math.sqrt(2)",
     "x + strength * noise, 0.2) * math.sqrt(2) + bias[:, None, None]", "bias comes after"),
    ("finish_layer", "x + strength * noise + bias[:, None, None], 0.2) * math.sqrt(2)",
     "x + bias[:, None, None], 0.2) * math.sqrt(2) + strength * noise", "noise comes after"),
    ("finish_layer", "strength * noise", "noise", "`strength` is not used"),
    ("finish_layer", " + strength * noise", "", "the noise is not used"),
    ("finish_layer", " + bias[:, None, None]", "", "the bias is not used"),
    ("sft", "1 + scale", "scale", "the 1 + is missing"),
    ("sft", " + shift", "", "the shift is missing"),
    ("sft", "second * (1 + scale)", "second", "the scale is missing"),
    ("sft", "second * (1 + scale) + shift", "(second + shift) * (1 + scale)", "the shift is scaled, too"),
    ("sft", "[first, second * (1 + scale) + shift]", "[first * (1 + scale) + shift, second]", "the first half"),
    ("sft", "[first, second * (1 + scale) + shift]", "[p * (1 + scale) + shift for p in (first, second)]",
     "all channels are changed"),
    ("sft", "[first, second * (1 + scale) + shift]", "[second * (1 + scale) + shift, first]", "wrong order"),
    ("sft", "torch.cat([first, second * (1 + scale) + shift], dim=1)", "second * (1 + scale) + shift", "join it"),
    ("scale_conditions", "strength * shift", "shift", "turns the scale alone"),
    ("scale_conditions", "strength * scale, ", "scale, ", "turns the shift alone"),
    ("scale_conditions", "(strength * scale, strength * shift)", "(scale, shift)", "the knob is dead"),
    ("scale_conditions", "strength = f**2 * (3 - 2 * f)", "strength = f", "the smooth step is missing"),
    ("scale_conditions", "f**2 * (3 - 2 * f)", "f**2", "the second factor"),
    ("scale_conditions", "torch.as_tensor(fidelity", "torch.as_tensor(1 - fidelity", "reversed"),
    ("scale_conditions", ".reshape(-1, 1, 1, 1)", "", "along the columns"),
    ("scale_conditions", "for resolution, (scale, shift) in conditions.items()}",
     "for resolution, (scale, shift) in list(conditions.items())[:1]}", "must return a dict of the same resolutions"),
    ("scale_conditions", "(strength * scale, strength * shift)", "(scale.mul_(strength), shift.mul_(strength))",
     "in place"),
    ("blend", "(1 - t) * drawn + t * codecs", "t * drawn + (1 - t) * codecs", "swapped"),
    ("blend", "fidelity**2 * (3 - 2 * fidelity) * trust", "trust", "does not turn the trust map"),
    ("blend", "fidelity**2 * (3 - 2 * fidelity)", "fidelity", "the smooth step is missing"),
    ("blend", "(1 - t)", "(1 - trust)", "do not add up to 1"),
    ("blend", "(1 - t) * drawn", "drawn", "counts in full"),
    ("blend", "(1 - t) * drawn + t * codecs", "((1 - t) * drawn + t * codecs).clamp(0, 1)", "clamped"),
    ("restore", "package.scale_conditions(read.conditions, fidelity)", "read.conditions", "conditions are not scaled"),
    ("restore", 'package.knob(fidelity, len(lq)) * stages["trust"]', 'stages["trust"]', "turn the trust map"),
    ("restore", "return drawn.lerp(read.pyramid[restorer.preset.size], trust)",
     "drawn = restorer.generator(read.ws, read.conditions)\n"
     "    return drawn.lerp(read.pyramid[restorer.preset.size], stages['trust'])", "neither conditions nor trust"),
    ("restore", "return drawn.lerp(read.pyramid[restorer.preset.size], trust)",
     "return restorer(lq, fidelity).image", "the package's own restorer"),
    ("restore", "return drawn.lerp(read.pyramid[restorer.preset.size], trust)",
     "return restorer.draw(read, stages['trust'], fidelity)[0].image", "the package's own restorer"),
    ("restore", ", package.scale_conditions(read.conditions, fidelity)", "", "gets no conditions"),
    ("restore", "restorer.generator(read.ws", "restorer.generator(fidelity * read.ws", "the codes are scaled"),
    ("restore", "drawn.lerp(read.pyramid[restorer.preset.size], trust)", "drawn", "this is the drawn picture"),
    ("restore", "drawn.lerp(read.pyramid[restorer.preset.size], trust)", "read.pyramid[restorer.preset.size]",
     "this is the codec's picture"),
    ("restore", "drawn.lerp(read.pyramid[restorer.preset.size], trust)",
     "read.pyramid[restorer.preset.size].lerp(drawn, trust)", "the blend is swapped"),
    ("restore", "size], trust)", "size], trust).clamp(0, 1)", "clamped"),
    ("ema_update", "1 - decay", "decay", "decay is swapped"),
    ("ema_update", "mean.lerp_(value, 1 - decay)", "mean = mean.lerp(value, 1 - decay)", "nothing has changed"),
    ("ema_update", "mean.lerp_(value, 1 - decay)", "mean.copy_(value)", "a copy of the model"),
    ("ema_update", "mean.lerp_(value, 1 - decay)", "value.lerp_(mean, 1 - decay)", "changes the model"),
    ("ema_update", "with torch.no_grad()", "with torch.enable_grad()", "joined the model's graph"),
    ("ema_update", "mean.copy_(value)", "mean = value", "buffers are left behind"),
    ("ema_update", "mean.copy_(value)", "mean.copy_(0.9 * mean + 0.1 * value)", "buffers are averaged"),
    ("ema_update", "mean.copy_(value)", "mean.data = value.data", "shares memory"),
    ("teacher_loss", "teacher.encode(clean)", "teacher.encode(lq)", "the teacher sees the damaged face"),
    ("teacher_loss", "student.encode(lq)", "student.encode(clean)", "the student sees the clean face"),
    ("teacher_loss", "ws, features = student", "clean, lq = lq, clean\n    ws, features = student", "are swapped"),
    ("teacher_loss", "teacher.encode(clean)", "student.encode(clean)", "the teacher is not asked"),
    ("teacher_loss", " + feature_distance([features[r] for r in coarse], [taught[r] for r in coarse])", "",
     "the features are missing"),
    ("teacher_loss", "F.mse_loss(ws, taught_ws) + ", "", "the codes are missing"),
    ("teacher_loss", "(4, 8, 16)", "tuple(features)", "every resolution"),
    ("teacher_loss", "with torch.no_grad()", "with torch.enable_grad()", "the teacher gets gradients"),
    ("teacher_loss", "F.mse_loss(ws, taught_ws)", "F.mse_loss(ws.detach(), taught_ws)",
     "part of the loss reaches nobody"),
    ("teacher_loss", "    with torch.no_grad()",
     "    teacher.requires_grad_(False)\n    with torch.no_grad()", "freezes"),
    ("teacher_loss", "+ feature_distance([features[r] for r in coarse], [taught[r] for r in coarse])",
     "+ sum(feature_distance([features[r]], [taught[r]]) for r in coarse)", "take their mean"),
    ("teacher_loss", "ws, features = student.encode(lq)", "ws, features = torch.no_grad()(student.encode)(lq)",
     "no gradient reaches the student"),
    ("redegradation_loss", "params)\n", "degradation.sample(len(lq), torch.Generator()))\n", "draws new parameters"),
    ("redegradation_loss", "apply_differentiable", "apply", "no gradient reaches the restored face"),
    ("redegradation_loss", "restored.clamp(0, 1)", "(restored + (restored.clamp(0, 1) - restored).detach())",
     "the gradient is not that of the loss"),
    ("redegradation_loss", "fidelity * ", "", "not weighed by fidelity"),
    ("redegradation_loss", "fidelity * charbonnier(again, lq)", "fidelity.mean() * charbonnier(again, lq)",
     "fidelity weighs the mean"),
    ("redegradation_loss", "fidelity * ", "(1 - fidelity) * ", "the weight is reversed"),
    ("redegradation_loss", "restored.clamp(0, 1)", "restored", "not clamped"),
    ("redegradation_loss", "degradation.apply_differentiable(restored.clamp(0, 1), params)", "restored", "damage it"),
    ("redegradation_loss", "degradation.apply_differentiable(restored.clamp(0, 1), params)", "restored.clamp(0, 1)",
     "only clamped"),
    ("redegradation_loss", "lq)).mean()", "lq))", "return their mean"),
    ("redegradation_loss", "charbonnier(again, lq)", "(again - lq).square().mean(dim=(1, 2, 3))", "squared"),
    ("total_loss", "weights[name] * term()", "term()", "not weighed"),
    ("total_loss", "sum(weights[name] * term() for name, term in terms.items() if weights[name])",
     "torch.stack([weights[name] * term() for name, term in terms.items() if weights[name]]).mean()", "takes the mean"),
    ("total_loss", "if weights[name])", "if weights[name]) / sum(weights.values())", "weights are not shares"),
    ("total_loss", "weights[name] * term()", "term() / weights[name]", "divides by the weights"),
    ("total_loss", "weights[name] * term()", "weights[name] * term().detach()", "lost its gradient"),
    ("total_loss", " if weights[name]", "", "although its weight is 0"),
]  # fmt: skip


# exercise, what is in its solution, another way to say the same
ALTERNATIVES = [
    ("gaussian_kernel", "torch.exp(-((along / sigma_x) ** 2 + (across / sigma_y) ** 2) / 2)",
     "torch.exp(-(along**2 / (2 * sigma_x**2) + across**2 / (2 * sigma_y**2)))"),
    ("round_straight_through", "values + (values.round() - values).detach()",
     "values - values.detach() + values.round().detach()"),
    ("high_pass", "F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)",
     "F.avg_pool2d(x, 3, 1, 1) / F.avg_pool2d(torch.ones_like(x), 3, 1, 1)"),
    ("my_mmrb", "own + answers[-1] if answers else own", "own + (answers or [0.0])[-1]"),
    ("modulate", "weight[None] * style[:, None, :, None, None]", "torch.einsum('oiyx,bi->boiyx', weight, style)"),
    ("demodulate", "weights * (power + 1e-8).rsqrt()", "weights / (power + 1e-8).sqrt()"),
    ("modulated_conv", "y * (power + 1e-8).rsqrt()[:, :, None, None]",  # the textbook's form: a kernel for each picture
     "torch.cat([F.conv2d(one[None], weight * s[:, None, None] / ((weight * s[:, None, None]).square()"
     ".sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt(), padding=weight.shape[-1] // 2) for one, s in zip(x, style)])"),
    ("scale_conditions", ".reshape(-1, 1, 1, 1)", ".view(-1)[:, None, None, None]"),
    ("add_noise", "images + sigma / 255 * pattern", "images + sigma * pattern / 255"),
    ("add_noise", "images + sigma / 255 * pattern", "(255 * images + sigma * pattern) / 255"),
    ("high_pass", "return x - F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)",
     "kernel = torch.ones(x.shape[1], 1, 3, 3)\n"
     "    total, number = (F.conv2d(y, kernel, padding=1, groups=x.shape[1]) for y in (x, torch.ones_like(x)))\n"
     "    return x - total / number"),
    ("modulate", "return weight[None] * style[:, None, :, None, None]",
     "out = torch.empty(len(style), *weight.shape)\n"
     "    for one, s in zip(out, style, strict=True):\n"
     "        one.copy_(weight * s[:, None, None])\n    return out"),
    ("sft", "return torch.cat([first, second * (1 + scale) + shift], dim=1)",
     "out = torch.zeros(h.shape)\n    out[:, : h.shape[1] // 2] = first\n"
     "    out[:, h.shape[1] // 2 :] = second + scale * second + shift\n    return out"),
    ("blend", "(1 - t) * drawn + t * codecs", "drawn.lerp(codecs, t)"),
    ("ema_update", "mean.lerp_(value, 1 - decay)", "mean.mul_(decay).add_(value, alpha=1 - decay)"),
    ("total_loss", "weights[name] * term()", "term() * weights[name]"),
]  # fmt: skip


def check_answer(notebook, grade_id: str, graded: bool = False) -> None:
    """Run the set-up of a lab, one answer, and the check cell below it, as a student does; or what counts, too."""
    place = index_of(notebook, grade_id)
    cells = [notebook.cells[index_of(notebook, "setup")], *notebook.cells[place : place + 2]]
    if graded:
        cells.append(next(cell for cell in notebook.cells[place:] if metadata(cell).get("grade")))
    with plt.rc_context(), torch.enable_grad():  # the set-up of some labs changes both
        namespace = {}
        for cell in cells:
            exec(compile(cell.source, f"<{grade_id}>", "exec"), namespace)


@pytest.mark.parametrize("grade_id", LAB_OF)
def test_the_check_takes_the_reference_solution(grade_id, capsys):
    check_answer(read(LAB_OF[grade_id]), grade_id)
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize(("grade_id", "one", "other"), ALTERNATIVES)
def test_check_and_hidden_tests_take_other_right_answers(grade_id, one, other):
    notebook = read(LAB_OF[grade_id])
    plant(notebook, grade_id, one, other)
    check_answer(notebook, grade_id, graded=True)


@pytest.mark.parametrize(("grade_id", "right", "wrong", "message"), MISTAKES)
def test_the_check_names_the_mistake(grade_id, right, wrong, message):
    notebook = read(LAB_OF[grade_id])
    plant(notebook, grade_id, right, wrong)
    with pytest.raises(labs.CheckFailed, match=re.escape(message)):
        check_answer(notebook, grade_id)


@pytest.mark.parametrize("grade_id", LAB_OF)
def test_an_empty_answer_is_told_that_it_is_empty(grade_id):
    notebook = read(LAB_OF[grade_id])
    cell = notebook.cells[index_of(notebook, grade_id)]
    cell.source = re.sub(
        r"### BEGIN SOLUTION.*?### END SOLUTION", "raise NotImplementedError()", cell.source, flags=re.S
    )
    with pytest.raises(labs.CheckFailed, match="not written yet") as failed:
        check_answer(notebook, grade_id)
    number, section = re.search(r"\(See notebook (\d\d), (.+)\.\)$", str(failed.value)).groups()
    assert any(heading.lower().startswith(section.lower()) for heading in headings(number))


def headings(number: str) -> list[str]:
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    return [heading for text in texts for heading in re.findall(r"^#+ (.+)$", text, re.M)]


def test_an_error_in_an_answer_is_told_with_its_input_and_its_line(tmp_path):
    answer = tmp_path / "answer.py"
    answer.write_text("def high_pass(x):\n    return x + x.new_zeros(3, 2)\n")
    namespace = {}
    exec(compile(answer.read_text(), str(answer), "exec"), namespace)
    with pytest.raises(labs.CheckFailed) as failed:
        labs.check_high_pass(namespace["high_pass"])
    for part in ("raised RuntimeError", "x of shape (2, 3, 7, 5)", "return x + x.new_zeros(3, 2)", "notebook 02"):
        assert part in str(failed.value)


def test_the_package_s_own_function_is_no_answer():
    with pytest.raises(labs.CheckFailed, match="the package's own"):
        labs.check_mmrb(mmrb.MMRB)


def test_a_notebook_shows_the_message_alone():
    failed = labs.CheckFailed("high_pass: the sign is reversed.")
    assert failed._render_traceback_() == ["✗ high_pass: the sign is reversed."]


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (torch.ones(2, 3), "shape (2, 3) where (2, 2)"),
        (torch.full((2, 2), torch.nan), "NaN"),
        (torch.ones(2, 2).double(), "float64"),
        (torch.ones(2, 2) + 0.5, "off by up to 0.5"),
    ],
)
def test_an_unknown_mistake_is_described(got, message):
    with pytest.raises(labs.CheckFailed, match=re.escape(message)):
        Check("answer", "notebook 00").same(got, torch.ones(2, 2), "an input")


def test_importing_the_package_imports_no_labs():
    code = "import sys, bfr_lite; sys.exit(any(name in sys.modules for name in ('bfr_lite.labs', 'torch', 'nbgrader')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def promised_minutes(lab: str) -> int:
    return int(re.search(r"\*\*Time\*\*:\s+about\s+(\d+)\s+minutes", read(lab).cells[0].source)[1])


@pytest.mark.parametrize("lab", LABS)
class TestSource:
    def test_is_stripped(self, lab):
        """Outputs are made anew for every reader; the release has none either."""
        cells = [cell for cell in read(lab).cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in cells)

    def test_has_small_cells(self, lab):
        assert max(len(cell.source.splitlines()) for cell in read(lab).cells if cell.cell_type == "code") <= 25

    def test_is_worth_20_points_and_every_point_is_hidden_tested(self, lab):
        graded = [cell for cell in read(lab).cells if metadata(cell).get("grade")]
        assert sum(points(lab).values()) == 20
        assert all("### BEGIN HIDDEN TESTS" in cell.source and metadata(cell)["locked"] for cell in graded)

    def test_has_a_card_a_check_and_a_test_for_every_answer(self, lab):
        notebook = read(lab)
        for i, cell in enumerate(notebook.cells):
            if metadata(cell).get("solution"):
                card, check = notebook.cells[i - 1].source, notebook.cells[i + 1].source
                test = next(cell for cell in notebook.cells[i:] if metadata(cell).get("grade"))
                assert f"| {metadata(test)['points']} |" in card and "★" in card and "<details>" in card
                assert re.fullmatch(r"labs\.check_\w+\(\w+\)", check)
                assert test.source.startswith(check) and cell.source.count("BEGIN SOLUTION")

    def test_promises_as_many_minutes_as_its_cards(self, lab):
        texts = [cell.source for cell in read(lab).cells if cell.cell_type == "markdown"]
        minutes = [int(card[1]) for card in (re.search(r"\| ★+ \| (\d+) \|", text) for text in texts) if card]
        assert len(minutes) == len(points(lab)) and sum(minutes) == promised_minutes(lab)

    def test_the_teacher_s_guide_says_the_same(self, lab):
        (line,) = [line for line in GUIDE.read_text().splitlines() if line.startswith(f"| `{lab}`")]
        assert [int(value) for value in re.findall(r"\((\d+)\)", line.split("|")[3])] == list(points(lab).values())
        assert int(line.split("|")[4]) == promised_minutes(lab)

    def test_grade_ids_are_named_once_and_schema_3(self, lab):
        known = [metadata(cell) for cell in read(lab).cells if metadata(cell)]
        assert len({cell["grade_id"] for cell in known}) == len(known)
        assert {cell["schema_version"] for cell in known} == {3}


FIRST = {grade_id: (right, wrong) for grade_id, right, wrong, _ in reversed(MISTAKES)}


@pytest.mark.parametrize("grade_id", LAB_OF)
def test_the_hidden_tests_alone_see_a_mistake(grade_id):
    """Without the check, which students may have edited."""
    notebook = read(LAB_OF[grade_id])
    plant(notebook, grade_id, *FIRST[grade_id])
    place, namespace = index_of(notebook, grade_id), {}
    test = next(cell for cell in notebook.cells[place:] if metadata(cell).get("grade"))
    hidden = test.source.partition("### BEGIN HIDDEN TESTS")[2]
    with plt.rc_context(), torch.enable_grad():
        for cell in (notebook.cells[index_of(notebook, "setup")], notebook.cells[place]):
            exec(compile(cell.source, grade_id, "exec"), namespace)
        with pytest.raises((AssertionError, RuntimeError)):
            exec(hidden, namespace)
