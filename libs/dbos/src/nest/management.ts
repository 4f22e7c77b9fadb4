/** Endpoints that tell more than a status: closed to all but those whom the application's own guard lets in. */
import {
  applyDecorators,
  ForbiddenException,
  Inject,
  Injectable,
  SetMetadata,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
  type Type,
} from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { UnguardedEndpointsError } from '../core/endpoint-errors.js';
import { RegistrationError } from '../core/errors.js';
import { DBOS_OPTIONS, type DbosModuleOptions } from './dbos-options.js';
import type { Wrapper } from './provider-instances.js';

const MANAGEMENT = 'nestjs-dbos:management';

/** Whom the application lets in, found once all its providers are there. */
@Injectable()
export class EndpointAccess {
  private guard: CanActivate | undefined;

  constructor(
    @Inject(DBOS_OPTIONS) private readonly options: DbosModuleOptions,
    private readonly container: ModuleRef,
  ) {}

  /** @throws UnguardedEndpointsError in production, when there is something to guard and nobody who does */
  async settle(controllers: readonly Pick<Wrapper, 'metatype'>[]): Promise<void> {
    const { guard } = this.options.endpoints ?? {};
    this.guard = typeof guard === 'function' ? await this.provided(guard) : guard;
    if (this.guard || process.env['NODE_ENV'] !== 'production') return;
    const open = controllers
      .filter(({ metatype }) => metatype && Reflect.getMetadata(MANAGEMENT, metatype) === true)
      .map(({ metatype }) => metatype?.name ?? 'A controller');
    if (open.length > 0) throw new UnguardedEndpointsError(open);
  }

  decide(context: ExecutionContext): ReturnType<CanActivate['canActivate']> {
    if (this.guard) return this.guard.canActivate(context);
    throw new ForbiddenException(
      'This endpoint is closed: DbosModule was given no guard for it (endpoints.guard).',
    );
  }

  /** As the application provides it, or made here, where only global providers can be injected into it. */
  private async provided(type: Type<CanActivate>): Promise<CanActivate> {
    try {
      return this.container.get<CanActivate>(type, { strict: false });
    } catch {
      return await this.container.create(type).catch((cause: unknown) => {
        throw new RegistrationError(
          `DbosModule was given ${type.name} as the guard of its endpoints, but it can be neither found nor made. Add it ` +
            'to the providers of a module that the application imports, as a singleton.',
          { cause },
        );
      });
    }
  }
}

@Injectable()
export class ManagementGuard implements CanActivate {
  constructor(private readonly access: EndpointAccess) {}

  canActivate(context: ExecutionContext): ReturnType<CanActivate['canActivate']> {
    return this.access.decide(context);
  }
}

/** Marks a controller whose every answer is for those only whom `endpoints.guard` lets in. */
export function Management(): ClassDecorator {
  return applyDecorators(SetMetadata(MANAGEMENT, true), UseGuards(ManagementGuard));
}
