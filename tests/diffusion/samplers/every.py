"""Every sampler there is, built for a schedule; a new one is one line here."""

import gendiff as gd

EVERY = {
    "ddpm": lambda schedule: gd.samplers.ddpm(),
    "ddpm large": lambda schedule: gd.samplers.ddpm("large"),
    "ddim": lambda schedule: gd.samplers.ddim(),
    "ddim stochastic": lambda schedule: gd.samplers.ddim(0.7),
    "euler": lambda schedule: gd.samplers.euler(),
    "heun": lambda schedule: gd.samplers.heun(),
    "rk4": lambda schedule: gd.samplers.rk4(schedule),
    "euler_ancestral": lambda schedule: gd.samplers.euler_ancestral(),
    "churn": lambda schedule: gd.samplers.churn(schedule, 2.0),
    "predictor_corrector": lambda schedule: gd.samplers.predictor_corrector(),
    "dpm_solver_multistep": lambda schedule: gd.samplers.dpm_solver_multistep(),
    "dpm_solver_multistep 3": lambda schedule: gd.samplers.dpm_solver_multistep(3),
    "dpm_solver_multistep sde": lambda schedule: gd.samplers.dpm_solver_multistep(2, eta=0.7),
    "dpm_solver_single": lambda schedule: gd.samplers.dpm_solver_single(schedule, 2),
    "dpm_solver_single sde": lambda schedule: gd.samplers.dpm_solver_single(schedule, 2, eta=1.0),
    "dpm_solver_single 3": lambda schedule: gd.samplers.dpm_solver_single(schedule, 3),
    "unipc": lambda schedule: gd.samplers.unipc(),
    "unipc 3": lambda schedule: gd.samplers.unipc(3, variant="bh1"),
    "deis": lambda schedule: gd.samplers.deis(),
    "deis ratio": lambda schedule: gd.samplers.deis(4, variable="ratio"),
    "pndm": lambda schedule: gd.samplers.pndm(),
    "pndm runge_kutta": lambda schedule: gd.samplers.pndm(schedule),
    "fixed_path": lambda schedule: gd.samplers.fixed_path(gd.samplers.ddim(1.0)),
    "reversible_heun": lambda schedule: gd.inversion.reversible_heun(),
}
